package tailscale

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
	status struct {
		Version        string
		BackendState   string
		MagicDNSSuffix string
		CurrentTailnet *struct{ Name, MagicDNSSuffix string }
		Self           json.RawMessage            // a peer
		Peer           map[string]json.RawMessage // each decoded by itself: one that is broken costs only itself
		User           map[string]json.RawMessage
	}
	peer struct {
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
		LastSeen        moment
		ExitNodeOption  bool
		ShareeNode      bool
		Expired         bool
		KeyExpiry       moment
		Location        *struct{ Country, CountryCode, City, CityCode string }
	}
)

// moment is a time of the LocalAPI. One that cannot be read costs only itself.
type moment struct {
	time.Time        // zero: none, or not known
	wrong     string // why there is something that is not used
}

// sensible is the earliest time that is not a mistake of somebody's clock.
var sensible = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// UnmarshalJSON implements json.Unmarshaler.
func (m *moment) UnmarshalJSON(text []byte) error {
	*m = moment{}
	switch err := m.Time.UnmarshalJSON(text); {
	case err != nil:
		m.Time, m.wrong = time.Time{}, fmt.Sprintf("%.50s is not a time", text)
	case !m.IsZero() && m.Before(sensible):
		m.Time, m.wrong = time.Time{}, fmt.Sprintf("%.50s is before the year 2000", text)
	}
	return nil
}

// String is RFC 3339, "" for none.
func (m moment) String() string {
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

// localAPI talks to the tailscaled of this machine.
type localAPI struct {
	socket string
	client *http.Client
}

func newLocalAPI(socket string) *localAPI {
	return &localAPI{socket, &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true, // so that nothing is left open behind Run
	}}}
}

func (a *localAPI) get(ctx context.Context, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://local-tailscaled.sock/localapi/v0/"+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := a.client.Do(req)
	if err != nil {
		return nil, a.explain(err)
	}
	if res.StatusCode != http.StatusOK {
		defer res.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(res.Body, 200))
		return nil, &apiError{res.StatusCode, fmt.Sprintf("tailscaled at %s answers %s to %s: %q", a.socket, res.Status, path, strings.TrimSpace(string(text)))}
	}
	return res, nil
}

// apiError is an answer that is not what was asked for.
type apiError struct {
	code int
	text string
}

func (e *apiError) Error() string { return e.text }

// explain says what to do about an error of the socket.
func (a *localAPI) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no tailscaled answers at %s: start it (systemctl start tailscaled), or name its socket with --discovery.tailscale.socket: %w", a.socket, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("no permission to ask tailscaled at %s: run the server as a user who may open that socket: %w", a.socket, err)
	}
	return fmt.Errorf("ask tailscaled at %s: %w", a.socket, err)
}

// status asks for the devices. A tailscaled that is not part of a tailnet is an
// error, so that what was known before stays.
func (a *localAPI) status(ctx context.Context) (*status, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	res, err := a.get(ctx, "status")
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var s status
	if err := json.NewDecoder(io.LimitReader(res.Body, maxStatus)).Decode(&s); err != nil {
		return nil, fmt.Errorf("tailscaled at %s: its status cannot be read: %w", a.socket, err)
	}
	switch s.BackendState {
	case "Running":
	case "NeedsLogin", "NoState":
		return nil, fmt.Errorf("tailscaled at %s is logged out (state %s): run tailscale up", a.socket, s.BackendState)
	case "NeedsMachineAuth":
		return nil, fmt.Errorf("tailscaled at %s waits for an administrator of the tailnet to approve this machine", a.socket)
	case "Stopped":
		return nil, fmt.Errorf("tailscaled at %s is disconnected: run tailscale up", a.socket)
	default:
		return nil, fmt.Errorf("tailscaled at %s is in state %q, not Running", a.socket, s.BackendState)
	}
	if len(s.Self) == 0 || string(s.Self) == "null" {
		return nil, fmt.Errorf("tailscaled at %s (version %q) does not say which device it is", a.socket, s.Version)
	}
	return &s, nil
}

// watch calls changed for every message until ctx ends or the stream does, which
// is an error.
func (a *localAPI) watch(ctx context.Context, changed func()) error {
	res, err := a.get(ctx, fmt.Sprintf("watch-ipn-bus?mask=%d", watchMask))
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
			return fmt.Errorf("tailscaled at %s ended its notifications: %w", a.socket, err)
		}
	}
}
