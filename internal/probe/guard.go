package probe

import (
	"context"
	"fmt"
	"net"
	"net/http/httptrace"
	"net/netip"
	"sync"

	"github.com/clanmon/clanmon/discovery/checks"
)

// Bounds are where a probe may go.
type Bounds struct {
	// Named is an address that is meant although it is link-local or a cloud's metadata service.
	// "" or a name is none.
	Named string
	// Allow says whether a redirect to another host and port may be followed; nil is any.
	Allow func(host, port string) bool
}

// Guard refuses a probe of host if that leads to an address at which machines find credentials:
// link-local, or a cloud's metadata service. The returned context ends when the probe is about to
// connect to another such address, because of a redirect or of a name server that answers
// differently the second time, or where Allow does not let it; no request is sent there. Its
// cause says why.
//
// Upstream's probers take no dialer. They have a context, and net tells the trace in it about
// connections. Probers that dial without it (DNS, ICMP, gRPC, HTTP/3, and TCP with the option tls)
// are covered by the first look-up alone; none of them can read from a metadata service, which
// speaks plain HTTP. Of these only HTTP/3, which a module has to enable, follows redirects.
func Guard(ctx context.Context, host string, b Bounds) (context.Context, error) {
	meant, _ := netip.ParseAddr(b.Named)
	refuse := func(host, address string) error {
		addr, err := netip.ParseAddr(address)
		switch {
		case err != nil || !checks.Metadata(addr) || addr.Unmap().WithZone("") == meant.Unmap().WithZone(""):
			return nil
		case host == address:
			return fmt.Errorf("%s, a link-local or metadata address", address)
		}
		return fmt.Errorf("%s, which resolves to %s, a link-local or metadata address", host, address)
	}
	if err := refuse(host, host); err != nil {
		return ctx, fmt.Errorf("refused to probe %w: name it itself if it is meant", err)
	}
	if _, err := netip.ParseAddr(host); err != nil {
		found, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", host) // the probe says what is wrong
		for _, addr := range found {
			if err := refuse(host, addr.String()); err != nil {
				return ctx, fmt.Errorf("refused to probe %w: name that address itself if it is meant", err)
			}
		}
	}
	ctx, end := context.WithCancelCause(ctx)
	var mu sync.Mutex
	first, goesTo, away := "", host, "refused to probe" // the first request, and where the last one goes
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(hostPort string) { // of a request, before anything is looked up
			to, port, err := net.SplitHostPort(hostPort)
			if err != nil {
				return // the transport fails
			}
			mu.Lock()
			if first == "" {
				first = hostPort
			}
			redirected := hostPort != first
			if redirected {
				goesTo, away = to, "redirected to"
			}
			verb := away
			mu.Unlock()
			err = refuse(to, to)
			if err == nil && redirected && b.Allow != nil && !b.Allow(to, port) {
				err = fmt.Errorf("%s, which is not allowed", hostPort)
			}
			if err != nil {
				end(fmt.Errorf("%s %w", verb, err))
			}
		},
		ConnectStart: func(_, hostPort string) {
			address, _, _ := net.SplitHostPort(hostPort)
			mu.Lock()
			to, verb := goesTo, away
			mu.Unlock()
			if err := refuse(to, address); err != nil {
				end(fmt.Errorf("%s %w", verb, err))
			}
		},
	}), nil
}
