package look

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"go.yaml.in/yaml/v2"

	wire "github.com/clanmon/clanmon/internal/look"
	"github.com/clanmon/clanmon/internal/tailscaled"
	"github.com/clanmon/clanmon/internal/yamlerror"
)

// Options of the door.
type Options struct {
	Enabled bool
	Socket  string     // of clanmon-look.socket
	Units   wire.Units // that may be looked at
	// From are the nodes and tags of the tailnet that may look, such as hub and tag:monitor.
	// Their tailscaled is at TailscaleSocket.
	From            []string
	TailscaleSocket string
	// WebConfigFile is that of the port, in the format of the exporter toolkit. It is read
	// again for each request, as the toolkit does.
	WebConfigFile string
	Logger        *slog.Logger
}

const (
	// DefaultSocket is where clanmon-look.socket listens.
	DefaultSocket = "/run/clanmon-look.sock"
	// maxOpen is how many looks there are at one time.
	maxOpen = 8
	// slack is what a response may take over its limits of size and time.
	slackBytes = 512 << 10
	slackTime  = 5 * time.Second
)

// NewHandler returns what serves wire.Path. An error says why looking cannot be turned on:
// anybody who reaches the port, or has some certificate, would read the journal.
func NewHandler(o Options) (http.Handler, error) {
	h := &handler{opts: o, slots: make(chan struct{}, maxOpen)}
	if !o.Enabled {
		return h, nil
	}
	if err := o.Units.Check(); err != nil {
		return nil, fmt.Errorf("--look.units %w", err)
	}
	for _, from := range o.From {
		if strings.Trim(strings.TrimPrefix(from, "tag:"), ".") == "" || strings.ContainsAny(from, "*@ /") {
			return nil, fmt.Errorf("--look.from %q: it must be the name of a node in the tailnet, or a tag such as tag:monitor", from)
		}
	}
	if len(o.From) > 0 {
		h.tailnet = tailscaled.New(o.TailscaleSocket, "--look.tailscale-socket")
	} else if _, err := allowedNames(o.WebConfigFile); err != nil {
		return nil, fmt.Errorf("--look: %w", err)
	}
	return h, nil
}

type handler struct {
	opts    Options
	slots   chan struct{}
	tailnet *tailscaled.Client // nil without From
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	code, err := h.serve(w, r)
	if err != nil {
		h.opts.Logger.Warn("Refused to look", "client", r.RemoteAddr, "err", err)
		http.Error(w, err.Error(), code)
	}
}

// serve passes a request on. An error comes before anything was written.
func (h *handler) serve(w http.ResponseWriter, r *http.Request) (int, error) {
	if !h.opts.Enabled {
		return http.StatusForbidden, errors.New("looking at this machine is off: start its exporter with --look (docs/look.md)")
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return http.StatusMethodNotAllowed, errors.New("the method must be POST")
	}
	server, err := h.caller(r)
	if err != nil {
		return http.StatusForbidden, err
	}
	asked, err := wire.ReadRequest(r.Body)
	if err != nil {
		return http.StatusBadRequest, err
	}
	if why := h.opts.Units.Refusal(asked); why != "" {
		return http.StatusForbidden, errors.New(why)
	}
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	default:
		return http.StatusServiceUnavailable, fmt.Errorf("this machine is looked at %d times at once already; try again later", maxOpen)
	}
	asked.Units = h.opts.Units
	asked.By = strings.TrimSpace(wire.Visible(asked.By) + " via " + server)
	h.opts.Logger.Info("Looked at", "by", asked.By, "client", r.RemoteAddr, "kind", asked.Kind, "unit", asked.Unit, "follow", asked.Follow)
	return h.pass(w, r, asked)
}

// pass copies the response of the process behind the socket.
func (h *handler) pass(w http.ResponseWriter, r *http.Request, asked wire.Request) (int, error) {
	limit, size := wire.MaxTime+slackTime, int64(wire.MaxBytes+slackBytes)
	if asked.Follow {
		limit, size = wire.MaxFollowTime+slackTime, wire.MaxFollowBytes+slackBytes
	}
	ctx, cancel := context.WithTimeout(r.Context(), limit)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", h.opts.Socket)
	if err != nil {
		return http.StatusBadGateway, explain(h.opts.Socket, err)
	}
	defer conn.Close() // which ends the process, and its journalctl
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	text, err := json.Marshal(asked)
	if err != nil {
		return http.StatusInternalServerError, err
	}
	if _, err := conn.Write(append(text, '\n')); err != nil {
		return http.StatusBadGateway, fmt.Errorf("%s: %w", h.opts.Socket, err)
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	control := http.NewResponseController(w)
	_ = control.Flush() // who follows wants to know that it works
	_, _ = io.Copy(flushing{w, control}, io.LimitReader(conn, size))
	return http.StatusOK, nil
}

// flushing sends on what it gets.
type flushing struct {
	w       io.Writer
	control *http.ResponseController
}

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	return n, errors.Join(err, f.control.Flush())
}

// explain says what to do about a socket.
func explain(socket string, err error) error {
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing listens on %s: run systemctl enable --now clanmon-look.socket on the machine", socket)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("the exporter may not connect to %s: clanmon-look.socket must have the exporter's group (SocketGroup=)", socket)
	}
	return fmt.Errorf("connect to %s: %w", socket, err)
}

// caller is the name by which the client of r has proved who it is, and which was named.
func (h *handler) caller(r *http.Request) (string, error) {
	name, err := h.certified(r)
	if err != nil && h.tailnet != nil {
		return h.peer(r)
	}
	return name, err
}

// certified is the name of a client certificate.
func (h *handler) certified(r *http.Request) (string, error) {
	allowed, err := allowedNames(h.opts.WebConfigFile)
	if err != nil {
		return "", err
	}
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return "", errors.New("the client has no certificate")
	}
	// The toolkit compares names in the handshake, which a resumed session does not repeat.
	for _, name := range namesOf(r.TLS.PeerCertificates[0]) {
		if slices.Contains(allowed, name) {
			return name, nil
		}
	}
	return "", errors.New("the client's certificate has none of the names in client_allowed_sans")
}

// whoisTime is how long tailscaled may take.
const whoisTime = time.Second

// peer is the name of a node of the tailnet.
func (h *handler) peer(r *http.Request) (string, error) {
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return "", errors.New("the client has no address in the tailnet")
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if local == nil || !tailscaled.IsPeer(remote.Addr(), local.AddrPort().Addr()) {
		return "", fmt.Errorf("%s is not a peer of the tailnet: scrape this machine at its address in the tailnet", remote.Addr())
	}
	ctx, cancel := context.WithTimeout(r.Context(), whoisTime)
	defer cancel()
	who, err := h.tailnet.WhoIs(ctx, remote)
	if err != nil {
		return "", err
	}
	short, _, _ := strings.Cut(who.Device, ".")
	for _, from := range h.opts.From {
		named := strings.EqualFold(from, who.Device) || strings.EqualFold(from, short)
		if strings.HasPrefix(from, "tag:") {
			named = slices.Contains(who.Tags, from)
		}
		if named && !who.Shared {
			return who.Device, nil
		}
	}
	return "", fmt.Errorf("the node %s of the tailnet is not one of --look.from", who.Device)
}

func namesOf(c *x509.Certificate) []string {
	names := slices.Concat(c.DNSNames, c.EmailAddresses)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	for _, uri := range c.URIs {
		names = append(names, uri.String())
	}
	return names
}

// allowedNames are those of which a client's certificate has to have one. It is an
// error if clients do not have to prove one.
func allowedNames(file string) ([]string, error) {
	const remedy = "set client_auth_type: RequireAndVerifyClientCert and client_allowed_sans, with the names in the certificates of your servers, in tls_server_config of --web.config.file; or name nodes of the tailnet with --look.from"
	if file == "" {
		return nil, errors.New("clients would not have to prove who they are: " + remedy)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--web.config.file: %w", err)
	}
	var c struct {
		TLS struct {
			ClientAuth string   `yaml:"client_auth_type"`
			Allowed    []string `yaml:"client_allowed_sans"`
		} `yaml:"tls_server_config"`
	}
	if err := yaml.Unmarshal(text, &c); err != nil {
		return nil, fmt.Errorf("--web.config.file %q: %w", file, yamlerror.Hide(err))
	}
	if c.TLS.ClientAuth != "RequireAndVerifyClientCert" {
		return nil, fmt.Errorf("--web.config.file %q does not require client certificates: %s", file, remedy)
	}
	if len(c.TLS.Allowed) == 0 {
		return nil, fmt.Errorf("--web.config.file %q accepts every certificate of its authority: %s", file, remedy)
	}
	return c.TLS.Allowed, nil
}
