package tailscale

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.yaml.in/yaml/v2"

	"github.com/clanmon/clanmon/discovery/contract"
)

// A discovery leaves no goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// daemon is a tailscaled as far as its LocalAPI is concerned: what the real one
// cannot be brought to say is tried with it. The real one is in e2e.
type daemon struct {
	socket  string
	mu      sync.Mutex
	code    int
	status  map[string]any
	asked   int
	noWatch bool
	changed chan struct{}
}

func newDaemon(t *testing.T) *daemon {
	d := &daemon{socket: filepath.Join(t.TempDir(), "s"), code: http.StatusOK, changed: make(chan struct{}, 8), status: running()}
	d.listen(t)
	return d
}

func (d *daemon) listen(t *testing.T) {
	l, err := net.Listen("unix", d.socket)
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /localapi/v0/status", func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.asked++
		if r.Host != "local-tailscaled.sock" {
			http.Error(w, "invalid localapi request", http.StatusForbidden)
			return
		}
		w.WriteHeader(d.code)
		_ = json.NewEncoder(w).Encode(d.status)
	})
	mux.HandleFunc("GET /localapi/v0/watch-ipn-bus", func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		noWatch := d.noWatch
		d.mu.Unlock()
		if noWatch {
			http.NotFound(w, r)
			return
		}
		fmt.Fprintln(w, `{"Version":"1.102.5","State":6}`)
		w.(http.Flusher).Flush()
		for {
			select {
			case <-d.changed:
				fmt.Fprintln(w, `{"PeersChanged":[{}]}`)
				w.(http.Flusher).Flush()
			case <-r.Context().Done():
				return
			}
		}
	})
	srv := &http.Server{Handler: mux}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close() })
}

func (d *daemon) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

func device(id, name string, more map[string]any) map[string]any {
	p := map[string]any{
		"ID": id, "HostName": strings.ToUpper(name), "DNSName": name + ".tn.test.", "OS": "linux", "UserID": 1,
		"TailscaleIPs": []string{"fd7a:115c:a1e0::" + id, "100.64.0." + id}, "Online": true,
		"Tags": []string{"tag:server", "tag:web"}, "LastSeen": "0001-01-01T00:00:00Z",
	}
	for k, v := range more {
		p[k] = v
	}
	return p
}

func running(peers ...map[string]any) map[string]any {
	byKey := make(map[string]any)
	for i, p := range peers {
		byKey[fmt.Sprintf("nodekey:%02d", i)] = p
	}
	return map[string]any{
		"Version": "1.102.5", "BackendState": "Running", "Self": device("1", "hall", nil), "Peer": byKey,
		"CurrentTailnet": map[string]any{"Name": "me@example.org", "MagicDNSSuffix": "tn.test"},
		"User":           map[string]any{"1": map[string]any{"LoginName": "me@example.org"}},
	}
}

type run struct {
	t      *testing.T
	groups chan []*targetgroup.Group
	reg    *prometheus.Registry
	contract.Reporter
	log *logs
}

type logs struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// start runs a discovery as Prometheus' manager does, until the test ends.
func start(t *testing.T, section string) *run {
	var c SDConfig
	require.NoError(t, yaml.UnmarshalStrict([]byte(section), &c))
	r := &run{t: t, groups: make(chan []*targetgroup.Group), reg: prometheus.NewRegistry(), log: &logs{}}
	refresh := discovery.NewRefreshMetrics(r.reg)
	require.NoError(t, refresh.Register())
	m := c.NewDiscovererMetrics(r.reg, refresh)
	r.Reporter = m.(contract.Reporter)
	d, err := c.NewDiscoverer(discovery.DiscovererOptions{Logger: slog.New(slog.NewTextHandler(r.log, nil)), Metrics: m, SetName: "node"})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); d.Run(ctx, r.groups) }()
	t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(time.Minute):
			t.Error("Run does not end with its context")
		}
	})
	return r
}

// next is the next set of targets, by machine.
func (r *run) next() map[string]model.LabelSet {
	r.t.Helper()
	select {
	case gs := <-r.groups:
		require.Len(r.t, gs, 1)
		found := make(map[string]model.LabelSet)
		for _, l := range gs[0].Targets {
			require.NoError(r.t, l.Validate())
			found[string(l["__meta_tailscale_machine"])] = l
		}
		require.Len(r.t, found, len(gs[0].Targets), "names are unique: %v", gs[0].Targets)
		return found
	case <-time.After(time.Minute):
		r.t.Fatalf("no targets; log:\n%s", r.log)
		return nil
	}
}

func (r *run) eventually(check func() error) {
	r.t.Helper()
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	require.NoError(r.t, err, "log:\n%s", r.log)
}

func TestEveryFieldIsALabel(t *testing.T) {
	d := newDaemon(t)
	d.status = running(device("7", "db", map[string]any{
		"Online": false, "LastSeen": "2026-11-20T10:00:00Z", "KeyExpiry": "2027-01-01T00:00:00Z",
		"CurAddr": "192.0.2.1:41641", "Relay": "fra", "PrimaryRoutes": []string{"10.0.0.0/8"},
	}))
	found := start(t, "socket: "+d.socket+"\nport: 9558").next()
	require.Len(t, found, 2)
	require.Equal(t, model.LabelSet{
		"__address__":                       "100.64.0.7:9558",
		"__meta_tailscale_machine":          "db",
		"__meta_tailscale_device_name":      "db.tn.test",
		"__meta_tailscale_hostname":         "DB",
		"__meta_tailscale_id":               "7",
		"__meta_tailscale_os":               "linux",
		"__meta_tailscale_ipv4":             "100.64.0.7",
		"__meta_tailscale_ipv6":             "fd7a:115c:a1e0::7",
		"__meta_tailscale_tags":             ",tag:server,tag:web,",
		"__meta_tailscale_primary_routes":   ",10.0.0.0/8,",
		"__meta_tailscale_endpoint":         "192.0.2.1:41641",
		"__meta_tailscale_relay":            "fra",
		"__meta_tailscale_online":           "false",
		"__meta_tailscale_last_seen":        "2026-11-20T10:00:00Z",
		"__meta_tailscale_key_expiry":       "2027-01-01T00:00:00Z",
		"__meta_tailscale_expired":          "false",
		"__meta_tailscale_exit_node_option": "false",
		"__meta_tailscale_shared":           "false",
		"__meta_tailscale_mullvad":          "false",
		"__meta_tailscale_self":             "false",
		"__meta_tailscale_tailnet":          "me@example.org",
		"__meta_tailscale_user":             "me@example.org",
		contract.MetaMethod:                 "tailscale",
		contract.MetaMachine:                "db",
		contract.MetaFrom:                   model.LabelValue(d.socket),
		contract.MetaID:                     "7",
		contract.MetaTags:                   ",server,web,",
		contract.MetaOS:                     "linux",
		contract.MetaSelf:                   "false",
		contract.MetaAsk:                    "true",
		contract.MetaLeftOut:                "",
		contract.MetaDevice:                 "db.tn.test",
		contract.MetaOnline:                 "false",
		contract.MetaDirect:                 "true",
		contract.MetaRelay:                  "fra",
		contract.MetaKeyExpiry:              "2027-01-01T00:00:00Z",
		contract.MetaLastSeen:               "2026-11-20T10:00:00Z",
		contract.MetaExpired:                "false",
	}, found["db"])
	require.EqualValues(t, "true", found["hall"]["__meta_tailscale_self"])
	require.EqualValues(t, "true", found["hall"][contract.MetaSelf])
}

func TestForeignDevicesAreMarked(t *testing.T) {
	d := newDaemon(t)
	d.status = running(
		device("2", "friend", map[string]any{"DNSName": "friend.other.ts.net."}),
		device("3", "sharee", map[string]any{"ShareeNode": true}),
		device("5", "phone", map[string]any{"OS": "android", "Tags": []string{"tag:webby"}}),
		device("4", "us-nyc", map[string]any{"DNSName": "us-nyc-wg-301.mullvad.ts.net.", "ExitNodeOption": true, "Location": map[string]any{"CountryCode": "US"}}),
	)
	found := start(t, "{socket: "+d.socket+", intermittent_tags: [web, laptop]}").next()
	require.EqualValues(t, "shared in from another tailnet", found["friend"][contract.MetaLeftOut])
	require.EqualValues(t, "a Mullvad exit node", found["us-nyc-wg-301"][contract.MetaLeftOut])
	require.EqualValues(t, `its operating system is "android"`, found["phone"][contract.MetaLeftOut])
	require.EqualValues(t, "intermittent", found["sharee"][contract.MetaAvailability])
	require.Empty(t, found["phone"][contract.MetaAvailability], "nobody said it")
	require.EqualValues(t, "true", found["friend"]["__meta_tailscale_shared"])
	require.EqualValues(t, "true", found["sharee"]["__meta_tailscale_shared"])
	require.EqualValues(t, "true", found["us-nyc-wg-301"]["__meta_tailscale_mullvad"])
	require.EqualValues(t, "US", found["us-nyc-wg-301"]["__meta_tailscale_location_country_code"])
	require.EqualValues(t, "false", found["hall"]["__meta_tailscale_shared"])
}

// A name from the network breaks nothing: not labels, not each other.
func TestHostileNames(t *testing.T) {
	d := newDaemon(t)
	d.status = running(
		device("2", "x", map[string]any{"DNSName": "a\"} 1.tn.test.", "HostName": "\xff\x00", "Tags": []string{"tag:\xfe"}}),
		device("3", "x", map[string]any{"DNSName": ".....", "HostName": "!!!"}),
		device("4", "x", map[string]any{"DNSName": strings.Repeat("y", 500) + ".tn.test."}),
		device("5", "hall", nil),
		device("6", "hall", nil),
		device("8", "no-address", map[string]any{"TailscaleIPs": nil}),
	)
	r := start(t, "socket: "+d.socket)
	found := r.next()
	require.Equal(t, []contract.Refused{{Entry: "no-address.tn.test", Method: "tailscale", Reason: "it has no address in the tailnet: check that it is approved and its key is valid"}}, r.Refused())
	var names []string
	for name := range found {
		names = append(names, name)
	}
	require.ElementsMatch(t, []string{"hall", "a___1", "100.64.0.3", strings.Repeat("y", 63), "hall-5", "hall-6"}, names)
}

// What is wrong with one device costs nothing of the others; what is wrong with a
// date does not cost the device.
func TestOneBadDevice(t *testing.T) {
	for _, test := range []struct {
		more          map[string]any
		entry, reason string
		machine       bool
	}{
		{map[string]any{"TailscaleIPs": []string{"not an address"}}, "bad.tn.test", "is invalid", false},
		{map[string]any{"TailscaleIPs": []string{}}, "bad.tn.test", "no address in the tailnet", false},
		{map[string]any{"Tags": "web"}, "bad.tn.test", "is invalid", false},
		{map[string]any{"KeyExpiry": "1999-12-31T23:59:59Z"}, "bad.tn.test: key expiry", `"1999-12-31T23:59:59Z" is before the year 2000: ignored; the machine is used`, true},
		{map[string]any{"KeyExpiry": "1970-01-01T00:00:00Z"}, "bad.tn.test: key expiry", "before the year 2000", true},
		{map[string]any{"KeyExpiry": "soon"}, "bad.tn.test: key expiry", `"soon" is not a time`, true},
		{map[string]any{"KeyExpiry": "0001-01-01T00:00:00Z"}, "", "", true},
		{map[string]any{"LastSeen": "1999-12-31T23:59:59Z", "Online": false}, "", "", true},
	} {
		d := newDaemon(t)
		bad := device("2", "bad", test.more)
		d.status = running(bad, device("3", "good", nil))
		r := start(t, "socket: "+d.socket)
		found := r.next()
		require.Contains(t, found, "good")
		require.Contains(t, found, "hall")
		require.Equal(t, test.machine, found["bad"] != nil, "%v", test.more)
		require.Empty(t, found["bad"][contract.MetaKeyExpiry])
		require.NotContains(t, found["bad"], model.LabelName("__meta_tailscale_key_expiry"))
		require.Empty(t, found["bad"][contract.MetaLastSeen])
		require.Empty(t, r.Status()[0].Error)
		if test.entry == "" {
			require.Empty(t, r.Refused(), "%v", test.more)
			continue
		}
		require.Len(t, r.Refused(), 1, "%v", test.more)
		require.Equal(t, test.entry, r.Refused()[0].Entry)
		require.Contains(t, r.Refused()[0].Reason, test.reason)
	}
}

func TestIPv6Only(t *testing.T) {
	d := newDaemon(t)
	d.status = running(device("2", "six", map[string]any{"TailscaleIPs": []string{"fd7a:115c:a1e0::2"}}))
	require.EqualValues(t, "[fd7a:115c:a1e0::2]:9100", start(t, "socket: "+d.socket).next()["six"]["__address__"])
}

// A notification is followed at once; the refresh interval plays no part.
func TestNotificationBringsANewMachine(t *testing.T) {
	d := newDaemon(t)
	r := start(t, "socket: "+d.socket+"\nrefresh_interval: 1h")
	require.Len(t, r.next(), 1)
	d.set(func() { d.status = running(device("2", "new", nil)) })
	d.changed <- struct{}{}
	require.Contains(t, r.next(), "new")
}

func TestPollsWithoutNotifications(t *testing.T) {
	d := newDaemon(t)
	d.noWatch = true
	r := start(t, "socket: "+d.socket+"\nrefresh_interval: 50ms")
	require.Len(t, r.next(), 1)
	d.set(func() { d.status = running(device("2", "new", nil)) })
	require.Contains(t, r.next(), "new")
}

// While tailscaled cannot be asked nothing is sent, so that what was found stays;
// it is said once, counted each time, and heals.
func TestFailureKeepsTargets(t *testing.T) {
	for name, test := range map[string]struct {
		change func(d *daemon)
		text   string
	}{
		"logged out":   {func(d *daemon) { d.status["BackendState"] = "NeedsLogin" }, "run tailscale up"},
		"stopped":      {func(d *daemon) { d.status["BackendState"] = "Stopped" }, "run tailscale up"},
		"not approved": {func(d *daemon) { d.status["BackendState"] = "NeedsMachineAuth" }, "approve this machine"},
		"forbidden":    {func(d *daemon) { d.code = http.StatusForbidden }, "403"},
		"no self":      {func(d *daemon) { delete(d.status, "Self") }, "report its own device"},
		"not JSON":     {func(d *daemon) { d.status["Peer"] = 7 }, "its status is invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDaemon(t)
			r := start(t, "socket: "+d.socket+"\nrefresh_interval: 20ms")
			require.Len(t, r.next(), 1)
			d.set(func() { test.change(d) })
			r.eventually(func() error {
				if s := r.Status(); len(s) != 1 || !strings.Contains(s[0].Error, test.text) {
					return fmt.Errorf("status: %v", s)
				}
				if n := r.failures(); n < 3 {
					return fmt.Errorf("%v failures", n)
				}
				return nil
			})
			require.Equal(t, 1, strings.Count(r.log.String(), "level=ERROR"), r.log)
			d.set(func() { d.code, d.status = http.StatusOK, running(device("2", "new", nil)) })
			require.Contains(t, r.next(), "new")
			r.eventually(func() error {
				if s := r.Status(); s[0].Error != "" {
					return fmt.Errorf("status: %v", s)
				}
				return nil
			})
		})
	}
}

func (r *run) failures() float64 {
	families, err := r.reg.Gather()
	require.NoError(r.t, err)
	for _, f := range families {
		if f.GetName() == "prometheus_sd_refresh_failures_total" {
			require.Equal(r.t, "tailscale", f.GetMetric()[0].GetLabel()[1].GetValue())
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	return 0
}

func TestNoDaemonYet(t *testing.T) {
	d := &daemon{socket: filepath.Join(t.TempDir(), "s"), code: http.StatusOK, changed: make(chan struct{}), status: running()}
	r := start(t, "socket: "+d.socket)
	r.eventually(func() error {
		if s := r.Status(); len(s) != 1 || !strings.Contains(s[0].Error, "systemctl start tailscaled") {
			return fmt.Errorf("status: %v", s)
		}
		return nil
	})
	d.listen(t)
	require.Contains(t, r.next(), "hall")
}

func TestSections(t *testing.T) {
	for text, want := range map[string]string{
		"port: 0":              "port 0",
		"port: 70000":          "port 70000",
		"socket: ''":           "socket is empty",
		"refresh_interval: 0s": "refresh_interval",
		"soket: x":             "soket",
	} {
		err := yaml.UnmarshalStrict([]byte(text), new(SDConfig))
		require.ErrorContains(t, err, want, text)
	}
}

func TestParseJob(t *testing.T) {
	for text, want := range map[string]Job{
		"node":                {"node", 9100, nil},
		"nginx@web,tag:proxy": {"nginx", 9113, []string{"tag:web", "tag:proxy"}},
		"mine:8080":           {"mine", 8080, nil},
		"mine:8080@tag:x":     {"mine", 8080, []string{"tag:x"}},
	} {
		got, err := ParseJob(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got)
	}
	for text, want := range map[string]string{
		"mine":        "has no default port",
		"node:x":      `port "x"`,
		"node:0":      "port 0",
		"no de":       "job name",
		"node@":       `tag ""`,
		"node@tag:1x": `tag "tag:1x"`,
	} {
		_, err := ParseJob(text)
		require.ErrorContains(t, err, want, text)
	}
}

func TestAddressPrefersIPv4(t *testing.T) {
	require.Equal(t, "100.64.0.1", address([]netip.Addr{netip.MustParseAddr("fd7a::1"), netip.MustParseAddr("100.64.0.1")}))
}
