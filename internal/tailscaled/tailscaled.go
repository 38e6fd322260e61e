// Package tailscaled asks the tailscaled of this machine over its LocalAPI socket, which
// any local user may read: which devices are in the tailnet, and who a peer is. There is
// no key and no token, and nothing leaves the machine.
package tailscaled

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// DefaultSocket is where tailscaled listens on Linux.
const DefaultSocket = "/var/run/tailscale/tailscaled.sock"

// The part of tailscaled's LocalAPI that is needed here, by hand: upstream's
// client package would add a hundred packages. Field names are those of
// tailscale.com/ipn/ipnstate; an old tailscaled leaves some of them out.
type (
	// Status are the devices of the tailnet.
	Status struct {
		Version        string
		BackendState   string
		MagicDNSSuffix string
		CurrentTailnet *struct{ Name, MagicDNSSuffix string }
		Self           json.RawMessage            // a Peer
		Peer           map[string]json.RawMessage // each decoded by itself: one that is broken costs only itself
		User           map[string]json.RawMessage
	}
	// Peer is a device.
	Peer struct {
		ID              string
		HostName        string
		DNSName         string // with a dot at the end
		OS              string
		UserID          int64
		AltSharerUserID int64
		TailscaleIPs    []netip.Addr
		Tags            []string
		PrimaryRoutes   []string
		CurAddr, Relay  string
		Online          bool
		LastSeen        Moment
		ExitNodeOption  bool
		ShareeNode      bool
		Expired         bool
		KeyExpiry       Moment
		Location        *struct{ Country, CountryCode, City, CityCode string }
	}
)

// Moment is a time of the LocalAPI. One that cannot be read costs only itself.
type Moment struct {
	time.Time        // zero: none, or not known
	Wrong     string // why there is something that is not used
}

// sensible is the earliest time that is not a mistake of somebody's clock.
var sensible = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// UnmarshalJSON implements json.Unmarshaler.
func (m *Moment) UnmarshalJSON(text []byte) error {
	*m = Moment{}
	switch err := m.Time.UnmarshalJSON(text); {
	case err != nil:
		m.Time, m.Wrong = time.Time{}, fmt.Sprintf("%.50s is not a time", text)
	case !m.IsZero() && m.Before(sensible):
		m.Time, m.Wrong = time.Time{}, fmt.Sprintf("%.50s is before the year 2000", text)
	}
	return nil
}

// String is RFC 3339, "" for none.
func (m Moment) String() string {
	if m.IsZero() {
		return ""
	}
	return m.UTC().Format(time.RFC3339)
}

// What watch-ipn-bus is to tell (tailscale.com/ipn.NotifyWatchOpt): the state at
// once, which shows that the watch works, and changes of peers. Before 1.100 the
// last two are unknown and ignored, and changes come without being asked for.
const watchMask = 1<<1 | 1<<12 | 1<<15

// maxStatus bounds an answer: some 2 kB a device are usual.
const maxStatus = 64 << 20

// Client talks to the tailscaled of this machine. Safe for concurrent use; it leaves no
// connection open.
type Client struct {
	socket, flag string
	client       *http.Client
}

// New returns a client for the tailscaled at socket. Errors name flag as what sets the
// socket, such as "--discovery.tailscale.socket".
func New(socket, flag string) *Client {
	return &Client{socket, flag, &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true, // so that nothing is left open behind Run
	}}}
}

func (c *Client) get(ctx context.Context, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://local-tailscaled.sock/localapi/v0/"+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := c.client.Do(req)
	if err != nil {
		return nil, c.explain(err)
	}
	if res.StatusCode != http.StatusOK {
		defer res.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(res.Body, 200))
		return nil, &Error{res.StatusCode, fmt.Sprintf("tailscaled at %s responds with %s to %s: %q", c.socket, res.Status, path, strings.TrimSpace(string(text)))}
	}
	return res, nil
}

// Error is a response that is not what was asked for.
type Error struct {
	Code int // HTTP status
	text string
}

func (e *Error) Error() string { return e.text }

// explain says what to do about an error of the socket.
func (c *Client) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("tailscaled does not respond at %s: start it (systemctl start tailscaled), or set its socket with %s: %w", c.socket, c.flag, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("permission denied for tailscaled at %s: run clanmon as a user who may open the socket: %w", c.socket, err)
	}
	return fmt.Errorf("query tailscaled at %s: %w", c.socket, err)
}

// Status asks for the devices. A tailscaled that is not part of a tailnet is an
// error, so that what was known before stays.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	res, err := c.get(ctx, "status")
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var s Status
	if err := json.NewDecoder(io.LimitReader(res.Body, maxStatus)).Decode(&s); err != nil {
		return nil, fmt.Errorf("tailscaled at %s: its status is invalid: %w", c.socket, err)
	}
	switch s.BackendState {
	case "Running":
	case "NeedsLogin", "NoState":
		return nil, fmt.Errorf("tailscaled at %s is logged out (state %s): run tailscale up", c.socket, s.BackendState)
	case "NeedsMachineAuth":
		return nil, fmt.Errorf("tailscaled at %s is waiting for approval: approve this machine in the tailnet's admin console", c.socket)
	case "Stopped":
		return nil, fmt.Errorf("tailscaled at %s is disconnected: run tailscale up", c.socket)
	default:
		return nil, fmt.Errorf("tailscaled at %s is in state %q, not Running", c.socket, s.BackendState)
	}
	if len(s.Self) == 0 || string(s.Self) == "null" {
		return nil, fmt.Errorf("tailscaled at %s (version %q) does not report its own device", c.socket, s.Version)
	}
	return &s, nil
}

// Watch calls changed for every message until ctx ends or the stream does, which
// is an error.
func (c *Client) Watch(ctx context.Context, changed func()) error {
	res, err := c.get(ctx, fmt.Sprintf("watch-ipn-bus?mask=%d", watchMask))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	// What changed does not matter, and a message may be large: count ends of
	// values (each is a line) instead of decoding them.
	buf := make([]byte, 32<<10)
	for {
		n, err := res.Body.Read(buf)
		if n > 0 && strings.ContainsRune(string(buf[:n]), '\n') {
			changed()
		}
		if err != nil {
			return fmt.Errorf("tailscaled at %s closed its notifications: %w", c.socket, err)
		}
	}
}
