package identity

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"

	"github.com/clanmon/clanmon/server/internal/caller"
)

// proxy believes a header of those whom it trusts.
type proxy struct {
	header, groups string // in canonical form; groups "" for none
	trusted        []netip.Prefix
	unix           bool
}

// newProxy returns nil if no header is set.
func newProxy(header, groups string, trusted []string) (*proxy, error) {
	switch {
	case header == "" && groups == "" && len(trusted) == 0:
		return nil, nil
	case header == "":
		return nil, errors.New("--web.trusted-proxy and --web.identity.groups-header need --web.identity.header, the header in which the proxy sends the user's name")
	case len(trusted) == 0:
		return nil, fmt.Errorf("--web.identity.header=%s needs --web.trusted-proxy, the address of the proxy that sends it: anybody else could send it too", header)
	}
	p := &proxy{header: textproto.CanonicalMIMEHeaderKey(header), groups: textproto.CanonicalMIMEHeaderKey(groups)}
	for flag, name := range map[string]string{"--web.identity.header": p.header, "--web.identity.groups-header": p.groups} {
		if strings.ContainsAny(name, " :\r\n\t") {
			return nil, fmt.Errorf("%s %q: must be the name of a header, such as Remote-User", flag, name)
		}
		if slices.Contains([]string{"Authorization", "Cookie", "Host", "X-Forwarded-For", "Forwarded"}, name) {
			return nil, fmt.Errorf("%s %q: does not contain a user's name", flag, name)
		}
	}
	if p.header == p.groups {
		return nil, fmt.Errorf("--web.identity.groups-header %q: is the header of the name too", groups)
	}
	for _, t := range trusted {
		if t == Unix {
			p.unix = true
			continue
		}
		prefix, err := netip.ParsePrefix(t)
		if address, err2 := netip.ParseAddr(t); err2 == nil {
			prefix, err = netip.PrefixFrom(address, address.BitLen()), nil
		}
		switch {
		case err != nil:
			return nil, fmt.Errorf("--web.trusted-proxy %q: must be an address, a network such as 10.0.0.0/24, or %s", t, Unix)
		case prefix.Bits() == 0:
			return nil, fmt.Errorf("--web.trusted-proxy %q: contains every address, so everybody could take any name", t)
		}
		p.trusted = append(p.trusted, prefix.Masked())
	}
	return p, nil
}

// trusts reports whether r was sent by a trusted proxy. It must not be nil.
func (p *proxy) trusts(r *http.Request) bool {
	if p == nil {
		return false
	}
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		// Only of a unix socket nobody knows the other end's address.
		return p.unix && (r.RemoteAddr == "" || r.RemoteAddr == "@")
	}
	address := remote.Addr().Unmap().WithZone("")
	return slices.ContainsFunc(p.trusted, func(t netip.Prefix) bool { return t.Contains(address) })
}

// Limits of a header, in bytes.
const (
	maxName   = 256
	maxGroups = 4 << 10
)

// Why a header is removed.
const (
	untrusted = "untrusted"
	repeated  = "repeated"
	tooLong   = "too_long"
	invalid   = "invalid"
)

// take takes the headers out of r and returns what a trusted proxy says in them.
func (p *proxy) take(r *http.Request, removed func(reason string)) (who person) {
	if p == nil {
		return person{}
	}
	who.via = caller.ViaProxy
	names, groups := r.Header[p.header], []string(nil)
	delete(r.Header, p.header)
	if p.groups != "" {
		groups = r.Header[p.groups]
		delete(r.Header, p.groups)
	}
	if len(names) == 0 && len(groups) == 0 {
		return person{}
	}
	refuse := func(reason, why string) person {
		removed(reason)
		return person{unknown: fmt.Sprintf("the header %s %s", p.header, why)}
	}
	if !p.trusts(r) {
		return refuse(untrusted, "is believed only from a --web.trusted-proxy")
	}
	if len(names) == 0 || names[0] == "" {
		return person{}
	}
	if len(names) > 1 || len(groups) > 1 {
		return refuse(repeated, "is there more than once")
	}
	name := names[0]
	if len(name) > maxName || len(groups) > 0 && len(groups[0]) > maxGroups {
		return refuse(tooLong, fmt.Sprintf("is longer than %d bytes, or the groups than %d", maxName, maxGroups))
	}
	if strings.HasPrefix(name, "=?") { // as tailscale serve sends what is not ASCII
		if decoded, err := new(mime.WordDecoder).DecodeHeader(name); err == nil {
			name = decoded
		}
	}
	name = strings.TrimSpace(name)
	if name == "" || prefixed(name) || !printable(strings.ToValidUTF8(name, "\uFFFD")) {
		return refuse(invalid, "does not contain a name")
	}
	who.name = name
	for _, list := range groups {
		for group := range strings.SplitSeq(list, ",") {
			if group = strings.TrimSpace(group); group != "" && printable(strings.ToValidUTF8(group, "\uFFFD")) {
				who.groups = append(who.groups, group)
			}
		}
	}
	return who
}
