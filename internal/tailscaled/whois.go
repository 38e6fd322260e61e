package tailscaled

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// prefixes are the addresses that Tailscale gives to devices.
var prefixes = []netip.Prefix{netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("fd7a:115c:a1e0::/48")}

// IsPeer reports whether a connection from remote to local may be one of the tailnet:
// both addresses are of the range that Tailscale gives to devices. Others use the range
// 100.64.0.0/10 too, so only WhoIs tells for sure.
func IsPeer(remote, local netip.Addr) bool {
	remote, local = remote.Unmap().WithZone(""), local.Unmap().WithZone("")
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(remote) && p.Contains(local) })
}

// Who is a peer, as WhoIs reports it.
type Who struct {
	Login  string   // of the user whose device it is; "" for a tagged device
	Tags   []string // such as "tag:server"; a tagged device belongs to nobody
	Device string   // its name in the tailnet, without a final dot
	// Shared: the device is of another tailnet, or its user is.
	Shared bool
	// Capabilities are what the tailnet's policy grants the peer on this device: values
	// by the name of the capability. Each value is JSON.
	Capabilities map[string][]json.RawMessage
}

// ErrNoPeer is what WhoIs returns for an address that is not a device's own, such as one
// behind a subnet router.
var ErrNoPeer = errors.New("not the address of a device in the tailnet")

// maxWho bounds a response of whois: a node and its capabilities.
const maxWho = 1 << 20

// WhoIs asks who the peer at address is. It waits as long as ctx allows.
func (c *Client) WhoIs(ctx context.Context, address netip.AddrPort) (Who, error) {
	address = netip.AddrPortFrom(address.Addr().Unmap().WithZone(""), address.Port())
	res, err := c.get(ctx, "whois?addr="+url.QueryEscape(address.String()))
	if e, ok := errors.AsType[*Error](err); ok && e.Code == http.StatusNotFound {
		return Who{}, fmt.Errorf("%s: %w", address.Addr(), ErrNoPeer)
	}
	if err != nil {
		return Who{}, err
	}
	defer res.Body.Close()
	// Field names are those of tailscale.com/client/tailscale/apitype.
	var answer struct {
		Node struct {
			Name      string
			Addresses []netip.Prefix
			Tags      []string
			User      int64
			Sharer    int64
			Hostinfo  struct{ ShareeNode bool }
		}
		UserProfile struct{ LoginName string }
		CapMap      map[string][]json.RawMessage
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxWho)).Decode(&answer); err != nil {
		return Who{}, fmt.Errorf("tailscaled at %s: its response to whois is invalid: %w", c.socket, err)
	}
	n := answer.Node
	if !slices.ContainsFunc(n.Addresses, func(p netip.Prefix) bool { return p.IsSingleIP() && p.Addr() == address.Addr() }) {
		return Who{}, fmt.Errorf("%s: %w", address.Addr(), ErrNoPeer)
	}
	w := Who{
		Login: answer.UserProfile.LoginName, Tags: n.Tags, Device: strings.TrimSuffix(n.Name, "."),
		Shared:       n.Hostinfo.ShareeNode || n.Sharer != 0 && n.Sharer != n.User,
		Capabilities: answer.CapMap,
	}
	if len(w.Tags) > 0 {
		w.Login = "" // "tagged-devices", or who set it up
	}
	return w, nil
}
