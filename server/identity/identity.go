// Package identity finds out who sends a request, and which role they have. Sources are
// tailscaled's whois, a header of a trusted proxy, OpenID Connect, tokens of programs, and
// the passwords and client certificates of --web.config.file, which the exporter toolkit
// has verified before. docs/security.md describes the roles.
//
// An Identity is safe for concurrent use.
package identity

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/clanmon/clanmon/internal/atomicfile"
	"github.com/clanmon/clanmon/internal/tailscaled"
	"github.com/clanmon/clanmon/server/internal/caller"
)

// Options are the settings. The zero value identifies peers of the tailnet and clients
// of WebConfigFile, and grants no role.
type Options struct {
	// Operators and Viewers name who has a role: users, "tag:NAME", "group:NAME",
	// Identified; Viewers also Everybody. No Viewers stands for everybody.
	Operators, Viewers []string

	Header, GroupsHeader string   // in which a proxy says for whom it asks
	TrustedProxies       []string // addresses, networks, and Unix
	TokenFiles           []string
	OIDC                 OIDCOptions

	WebConfigFile   string   // of the exporter toolkit; "" for none
	TailscaleSocket string   // "" for the usual one
	ExternalURL     *url.URL // how browsers reach the server; nil for Check if it is not known
	RoutePrefix     string   // of requests
	Dir             string   // data directory, for the key of sessions and grantedFile

	Registerer prometheus.Registerer
	Logger     *slog.Logger
}

// Words among names.
const (
	Everybody  = "*"          // also who is not identified
	Identified = "identified" // whoever is, but as operators no device that is tagged or shared in
	Unix       = "unix"       // among trusted proxies: who connects to a unix socket
)

// Identity is what the Options say.
type Identity struct {
	operators, viewers roles
	proxy              *proxy // nil for none
	tokens             tokens
	oidc               *oidcLogin
	web                webConfig
	tailnet            *tailnet

	granted     atomic.Bool // a capability of the tailnet's policy has given somebody a role
	grantedFile string      // exists then; "" if it need not be written
	saving      sync.Mutex  // of grantedFile and warned
	warned      bool        // that it could not be written
	log         *slog.Logger
	removed     *prometheus.CounterVec
}

// Check looks for what is wrong with o, and says which flag. It reads no file: what a command
// line says can be checked on another machine.
func (o Options) Check() error {
	_, _, _, err := o.parse()
	return err
}

// CheckFiles reads the files that o names, except WebConfigFile.
func (o Options) CheckFiles() error {
	if _, err := newTokens(o.TokenFiles, o.Logger); err != nil {
		return err
	}
	_, err := o.OIDC.secret()
	return err
}

// parse reads what New needs of o.
func (o Options) parse() (operators, viewers roles, p *proxy, err error) {
	if operators, err = parseRoles("--web.operator", o.Operators); err != nil {
		return nil, nil, nil, err
	}
	if operators[Everybody] {
		return nil, nil, nil, fmt.Errorf("--web.operator %q: not allowed; to let everybody make changes, use --web.writes=open without --web.operator", Everybody)
	}
	if viewers, err = parseRoles("--web.viewer", o.Viewers); err != nil {
		return nil, nil, nil, err
	}
	if p, err = newProxy(o.Header, o.GroupsHeader, o.TrustedProxies); err != nil {
		return nil, nil, nil, err
	}
	return operators, viewers, p, o.checkOIDC()
}

// grantedFile in the data directory says that the tailnet's policy grants roles, so that roles
// apply after a restart before a peer that has one connects.
const grantedFile = "clanmon-tailnet-roles"

// New checks o. An error names the flag.
func New(o Options) (*Identity, error) {
	i := &Identity{
		log: o.Logger,
		web: webConfig{file: o.WebConfigFile},
		removed: promauto.With(o.Registerer).NewCounterVec(prometheus.CounterOpts{
			Name: "clanmon_identity_headers_ignored_total",
			Help: "Identity headers of requests that were removed, by reason: untrusted (not sent by a --web.trusted-proxy), repeated, too_long, invalid.",
		}, []string{"reason"}),
	}
	for _, reason := range []string{untrusted, repeated, tooLong, invalid} {
		i.removed.WithLabelValues(reason)
	}
	i.tailnet = newTailnet(tailscaled.New(cmp.Or(o.TailscaleSocket, tailscaled.DefaultSocket), "--discovery.tailscale.socket"), i.grant, o.Logger)
	if o.Dir != "" {
		i.grantedFile = filepath.Join(o.Dir, grantedFile)
		_, err := os.Stat(i.grantedFile)
		i.granted.Store(!errors.Is(err, fs.ErrNotExist))
		if err == nil {
			i.grantedFile = ""
		}
	}
	var err error
	if i.operators, i.viewers, i.proxy, err = o.parse(); err != nil {
		return nil, err
	}
	if i.tokens, err = newTokens(o.TokenFiles, o.Logger); err != nil {
		return nil, err
	}
	if o.OIDC.Issuer != "" {
		if i.oidc, err = newOIDC(o, i.mentions); err != nil {
			return nil, err
		}
	}
	if names := i.groupsNamed(); len(names) > 0 && i.oidc == nil && (i.proxy == nil || i.proxy.groups == "") {
		o.Logger.Warn("Nobody is in a group: groups are known only by --web.identity.groups-header or --web.oidc.issuer", "named", names)
	}
	return i, nil
}

// groupsNamed are the groups that have a role.
func (i *Identity) groupsNamed() []string {
	var names []string
	for _, named := range []roles{i.operators, i.viewers} {
		for name := range named {
			if strings.HasPrefix(name, groupPrefix) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Identify returns who sent r. It removes the identity headers of r that do not come
// from a trusted proxy, so that nothing behind it can believe them.
func (i *Identity) Identify(r *http.Request) caller.Caller {
	p := i.person(r)
	c := caller.Caller{Name: p.name, Via: cmp.Or(p.via, caller.ViaNothing), Device: p.device, Machine: p.machine, Unknown: p.unknown}
	c.Groups = append(slices.Clone(p.tags), p.groups...)
	if c.Configured = i.Configured(); c.Configured {
		c.Role = i.role(p)
	}
	return c
}

// HasToken reports whether r has a valid token, with which no password is needed.
func (i *Identity) HasToken(r *http.Request) bool {
	_, ok := i.tokens.find(r)
	return ok
}

// ByPassword reports whether the exporter toolkit lets in only who has a password or a
// client certificate.
func (i *Identity) ByPassword() (bool, error) {
	c, err := i.web.load()
	return c.asks(), err
}

// Open reports whether everybody may read.
func (i *Identity) Open() bool { return i.viewers == nil || i.viewers[Everybody] }

// LoginHandler serves LoginPath and what belongs to it, below the route prefix; nil
// without OpenID Connect.
func (i *Identity) LoginHandler() http.Handler {
	if i.oidc == nil {
		return nil
	}
	return i.oidc.handler()
}

// person is who a source says that somebody is.
type person struct {
	name, via, device string
	machine           string // that it proves to be
	tags, groups      []string
	shared            bool        // a device of another tailnet
	role              caller.Role // that the source itself gives
	unknown           string      // why there is no name
}

// person asks the sources. What a client presents for itself comes before what its
// address says.
func (i *Identity) person(r *http.Request) person {
	header := i.proxy.take(r, func(reason string) { i.removed.WithLabelValues(reason).Inc() })
	if t, ok := i.tokens.find(r); ok {
		return t.person()
	}
	if i.oidc != nil {
		if s, ok := i.oidc.session(r); ok {
			return person{name: s.Name, via: caller.ViaOIDC, groups: s.Groups}
		}
	}
	if header.name != "" {
		return header
	}
	if p := i.web.person(r); p.name != "" {
		return p
	}
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || i.proxy.trusts(r) { // whose own name is not that of its users
		header.unknown = cmp.Or(i.tokens.unknown(r), header.unknown)
		return header
	}
	p := i.tailnet.person(r.Context(), remote, localAddr(r))
	p.unknown = cmp.Or(i.tokens.unknown(r), p.unknown, header.unknown)
	return p
}

// grant makes roles apply, also after a restart. What cannot be saved is tried again with the next
// answer of tailscaled.
func (i *Identity) grant() {
	i.granted.Store(true)
	if !i.saving.TryLock() { // only one request at a time waits for the disk
		return
	}
	defer i.saving.Unlock()
	if i.grantedFile == "" {
		return
	}
	err := atomicfile.Write(i.grantedFile, 0o600, func(io.Writer) error { return nil })
	if err == nil {
		i.grantedFile = ""
	} else if !i.warned {
		i.warned = true
		i.log.Warn("Could not save that the tailnet's policy grants roles, which is retried: after a restart, roles apply once a peer that has one connects", "err", err)
	}
}

// localAddr is the address of this machine that r was sent to.
func localAddr(r *http.Request) netip.Addr {
	a, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if a == nil {
		return netip.Addr{}
	}
	ap, _ := netip.ParseAddrPort(a.String())
	return ap.Addr()
}

// Configured reports whether roles apply. A capability of the tailnet's policy makes them
// apply later, when the first peer has it.
func (i *Identity) Configured() bool {
	if i.operators != nil || i.viewers != nil || i.proxy != nil || i.tokens.ofPeople() || i.oidc != nil || i.granted.Load() {
		return true
	}
	c, err := i.web.load()
	return c.asks() || err != nil // which may have asked
}

// role is the highest that somebody or something gives p.
func (i *Identity) role(p person) caller.Role {
	if p.via == caller.ViaToken {
		return p.role // as its line says, whoever else has that name
	}
	// Who has a password could always do everything, unless somebody says who may.
	byFile := p.via == caller.ViaPassword || p.via == caller.ViaCertificate
	foreign := p.shared || len(p.tags) > 0
	switch {
	case p.role == caller.Operator, i.operators.name(p),
		p.name != "" && !foreign && (i.operators[Identified] || i.operators == nil && byFile):
		return caller.Operator
	case p.role == caller.Viewer, i.Open(), i.viewers.name(p), p.name != "" && i.viewers[Identified]:
		return caller.Viewer
	}
	return caller.Anonymous
}

// mentions reports whether a role depends on a group.
func (i *Identity) mentions(group string) bool {
	return i.operators[groupPrefix+group] || i.viewers[groupPrefix+group]
}

// roles are the names that have a role; nil if nothing was said.
type roles map[string]bool

const (
	tagPrefix   = "tag:"
	groupPrefix = "group:"
)

func parseRoles(flag string, names []string) (roles, error) {
	var r roles
	for _, name := range names {
		kind, rest, _ := strings.Cut(name, ":")
		switch {
		case name == "" || strings.TrimSpace(name) != name || !printable(name):
			return nil, fmt.Errorf("%s %q: must be a name without spaces around it", flag, name)
		case (kind+":" == tagPrefix || kind+":" == groupPrefix) && rest == "":
			return nil, fmt.Errorf("%s %q: has no name after the colon", flag, name)
		}
		if r == nil {
			r = make(roles)
		}
		r[fold(name)] = true
	}
	return r, nil
}

// name reports whether p, one of its tags, or one of its groups is named.
func (r roles) name(p person) bool {
	// A user may choose a name; it must not pass for a tag or a group.
	if p.name != "" && len(p.tags) == 0 && p.name != Identified && p.name != Everybody && !prefixed(p.name) && r[fold(p.name)] {
		return true
	}
	return slices.ContainsFunc(p.tags, func(tag string) bool { return r[tag] }) ||
		slices.ContainsFunc(p.groups, func(group string) bool { return r[groupPrefix+group] })
}

func prefixed(name string) bool {
	return strings.HasPrefix(name, tagPrefix) || strings.HasPrefix(name, groupPrefix)
}

// fold is how names are compared: mail addresses regardless of case.
func fold(name string) string {
	if strings.Contains(name, "@") && !prefixed(name) {
		return strings.ToLower(name)
	}
	return name
}

// printable reports whether text may be a name.
func printable(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' })
}

// whoer is what is needed of tailscaled.
type whoer interface {
	WhoIs(ctx context.Context, address netip.AddrPort) (tailscaled.Who, error)
}
