package delivery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/notifier"
	"github.com/prometheus/prometheus/util/features"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// webhook is a receiver that remembers.
type webhook struct {
	URL string

	mu  sync.Mutex
	got []message
}

type message struct {
	Status      string            `json:"status"`
	GroupLabels map[string]string `json:"groupLabels"`
	Alerts      []struct {
		Status string            `json:"status"`
		Labels map[string]string `json:"labels"`

		Annotations map[string]string `json:"annotations"`
	} `json:"alerts"`
}

func newWebhook(t *testing.T) *webhook {
	t.Helper()
	h := &webhook{}
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m message
		_ = json.NewDecoder(r.Body).Decode(&m)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.got = append(h.got, m)
	}))
	t.Cleanup(srv.Close)
	h.URL = srv.URL
	return h
}

func (h *webhook) all() []message {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]message(nil), h.got...)
}

// wait waits for n notifications.
func (h *webhook) wait(t *testing.T, n int) []message {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) { require.Len(c, h.all(), n) }, time.Minute, 20*time.Millisecond)
	return h.all()
}

func (h *webhook) config() string {
	return "route: {receiver: r, group_by: [machine], group_wait: 100ms, group_interval: 200ms}\nreceivers:\n- name: r\n  webhook_configs: [{url: '" + h.URL + "/?key=s3cret'}]\n"
}

func testOptions(t testing.TB, configText string) Options {
	t.Helper()
	reg := prometheus.NewRegistry()
	sd, err := discovery.CreateAndRegisterSDMetrics(reg)
	require.NoError(t, err)
	return Options{
		Notifier: notifier.Options{QueueCapacity: 100, MaxBatchSize: 10}, NameScheme: model.UTF8Validation,
		SDMetrics: sd, Features: features.NewRegistry(), Registerer: reg, Logger: promslog.NewNopLogger(),
		Dir: t.TempDir(), ExternalURL: &url.URL{}, ConfigFile: write(t, "am.yml", configText),
	}
}

// start runs a Delivery until stop is called or the test ends.
func start(t testing.TB, o Options) (d *Delivery, stop func()) {
	t.Helper()
	d, err := New(o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = d.Run(ctx)
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(stop)
	return d, stop
}

func firing(ls ...string) *notifier.Alert {
	return &notifier.Alert{Labels: labels.FromStrings(ls...), StartsAt: time.Now(), EndsAt: time.Now().Add(time.Hour)}
}

func get(t *testing.T, d *Delivery, path string) string {
	t.Helper()
	w := httptest.NewRecorder()
	d.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Body.String()
}

// Alertmanager's API is made by its first request. Its metrics are there before, and
// count that request.
func TestAPIIsMadeWhenNeeded(t *testing.T) {
	o := testOptions(t, "route: {receiver: r}\nreceivers: [{name: r}]\n")
	d, _ := start(t, o)
	h := d.Handler()
	require.Nil(t, d.inside.api)
	metrics := func() string {
		w := httptest.NewRecorder()
		promhttp.HandlerFor(o.Registerer.(*prometheus.Registry), promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		return w.Body.String()
	}
	require.Contains(t, metrics(), `alertmanager_alerts_received_total{status="firing",version="v2"} 0`)
	require.Contains(t, metrics(), `alertmanager_alerts_invalid_total{version="v2"} 0`)
	require.Contains(t, metrics(), `alertmanager_http_requests_in_flight{method="get"} 0`)

	r := httptest.NewRequest(http.MethodPost, "/alerts", strings.NewReader(`[{"labels":{"alertname":"A"}}]`))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.Contains(t, metrics(), `alertmanager_alerts_received_total{status="firing",version="v2"} 1`)
}

func addSilence(t *testing.T, d *Delivery, matcher, value string) {
	t.Helper()
	body := fmt.Sprintf(`{"matchers":[{"name":%q,"value":%q,"isRegex":false}],"startsAt":%q,"endsAt":%q,"createdBy":"me","comment":"c"}`,
		matcher, value, time.Now().UTC().Format(time.RFC3339), time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	r := httptest.NewRequest(http.MethodPost, "/silences", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	d.Handler().ServeHTTP(w, r)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
}

func TestAlertsAreGroupedAndResolved(t *testing.T) {
	h := newWebhook(t)
	d, _ := start(t, testOptions(t, h.config()))
	a, b := firing("alertname", "A", "machine", "m"), firing("alertname", "B", "machine", "m")
	d.Send(a, b)
	got := h.wait(t, 1)
	require.Len(t, got[0].Alerts, 2)
	require.Equal(t, map[string]string{"machine": "m"}, got[0].GroupLabels)
	a.EndsAt, b.EndsAt = time.Now(), time.Now()
	d.Send(a, b)
	got = h.wait(t, 2)
	require.Equal(t, "resolved", got[1].Status)
}

func TestLabelsOfTheConfiguration(t *testing.T) {
	h := newWebhook(t)
	d, _ := start(t, testOptions(t, h.config()))
	cfg := config.DefaultConfig
	cfg.GlobalConfig.ExternalLabels = labels.FromStrings("site", "home", "machine", "not this one")
	cfg.AlertingConfig.AlertRelabelConfigs = []*relabel.Config{
		{SourceLabels: model.LabelNames{"alertname"}, Regex: relabel.MustNewRegexp("Noise"), Action: relabel.Drop, Separator: ";", NameValidationScheme: model.UTF8Validation},
		{TargetLabel: "added", Replacement: "yes", Regex: relabel.MustNewRegexp("(.*)"), Action: relabel.Replace, Separator: ";", NameValidationScheme: model.UTF8Validation},
	}
	require.NoError(t, d.ApplyConfig(&cfg))
	d.Send(firing("alertname", "Noise", "machine", "m"), firing("alertname", "A", "machine", "m"))
	got := h.wait(t, 1)
	require.Len(t, got[0].Alerts, 1)
	require.Equal(t, map[string]string{"alertname": "A", "machine": "m", "site": "home", "added": "yes"}, got[0].Alerts[0].Labels)
}

// The two servers of a pair have the same alerts, also where a label tells the
// samples of one from those of the other.
func TestReplicaLabelStaysOutOfThePairsAlerts(t *testing.T) {
	cfg := config.DefaultConfig
	cfg.GlobalConfig.ExternalLabels = labels.FromStrings("replica", "a", "__replica__", "a", "prometheus_replica", "a", "site", "home")
	bare := model.LabelSet{"alertname": "A", "site": "home"}
	for _, c := range []struct {
		listen, replica string
		want            model.LabelSet
	}{
		{"127.0.0.1:1", "", bare},
		{"", "a", bare},
		{"", "", model.LabelSet{"alertname": "A", "site": "home", "replica": "a", "__replica__": "a", "prometheus_replica": "a"}},
	} {
		o := testOptions(t, newWebhook(t).config())
		o.Replica = c.replica
		d, err := New(o)
		require.NoError(t, err)
		d.opts.Cluster.ListenAddress = c.listen
		require.NoError(t, d.ApplyConfig(&cfg))
		in := d.labelling.Load().convert([]*notifier.Alert{firing("alertname", "A")}, time.Now())
		require.Equal(t, c.want, in[0].Labels)
		in = d.labelling.Load().convert([]*notifier.Alert{firing("alertname", "A", "replica", "of a database")}, time.Now())
		require.Equal(t, model.LabelValue("of a database"), in[0].Labels["replica"], "a label of the alert itself stays")
		require.Equal(t, 4, cfg.GlobalConfig.ExternalLabels.Len(), "others need it")
		require.NoError(t, d.Close())
	}
}

// Ten thousand at once: the right groups, each once, in bounded memory.
func TestTenThousandAlerts(t *testing.T) {
	h := newWebhook(t)
	o := testOptions(t, h.config())
	d, _ := start(t, o)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for name := range 10 {
		batch := make([]*notifier.Alert, 1000)
		for m := range batch {
			batch[m] = firing("alertname", fmt.Sprint("A", name), "machine", fmt.Sprint("m", m), "instance", "some.host.example.org:9100", "job", "node")
		}
		d.Send(batch...)
	}
	seen := make(map[string]map[string]bool)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		clear(seen)
		for _, m := range h.all() {
			machine := m.GroupLabels["machine"]
			if seen[machine] == nil {
				seen[machine] = make(map[string]bool)
			}
			for _, a := range m.Alerts {
				require.Equal(c, machine, a.Labels["machine"])
				seen[machine][a.Labels["alertname"]] = true
			}
		}
		total := 0
		for _, names := range seen {
			total += len(names)
		}
		require.Equal(c, 10000, total)
	}, time.Minute, 200*time.Millisecond)
	require.Len(t, seen, 1000)
	require.Zero(t, testutil.ToFloat64(d.inside.metrics.dropped))
	notifications := len(h.all())
	h.mu.Lock()
	h.got = nil // what the receiver remembers is not what delivery holds
	h.mu.Unlock()
	runtime.GC()
	runtime.ReadMemStats(&after)
	grown := float64(int64(after.HeapAlloc)-int64(before.HeapAlloc)) / (1 << 20)
	t.Logf("10,000 alerts hold %.1f MiB, %d notifications", grown, notifications)
	require.Less(t, grown, 120.0)
}

// The ruler is never held up, whatever happens to those who receive.
func TestSendNeverBlocks(t *testing.T) {
	d, err := New(testOptions(t, newWebhook(t).config())) // and nobody runs it
	require.NoError(t, err)
	defer d.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 3000 {
			d.Send(firing("alertname", "A"))
		}
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("Send blocks")
	}
	require.Positive(t, testutil.ToFloat64(d.inside.metrics.dropped))
}

// Who was told of what: not of what is silenced, nor by what did not arrive, and
// it is still known after a restart.
func TestNotificationsOfEachAlert(t *testing.T) {
	h := newWebhook(t)
	o := testOptions(t, h.config()+"  ntfy_configs: [{url: 'http://127.0.0.1:1', topic: a}]\n")
	d, stop := start(t, o)
	addSilence(t, d, "alertname", "Quiet")
	a, quiet := firing("alertname", "Told", "machine", "m", "odd", "=,ä"), firing("alertname", "Quiet", "machine", "m")
	fingerprint := func(a *notifier.Alert) string { return labelSet(a.Labels).Fingerprint().String() }
	told := func(c *assert.CollectT, d *Delivery) map[string][]Notification {
		w := httptest.NewRecorder()
		d.NotificationsHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		require.Equal(c, http.StatusOK, w.Code)
		var answer struct{ Data map[string][]Notification }
		require.NoError(c, json.Unmarshal(w.Body.Bytes(), &answer))
		return answer.Data
	}
	want := func(c *assert.CollectT, d *Delivery) {
		got := told(c, d)
		require.Len(c, got, 1)
		require.Len(c, got[fingerprint(a)], 1)
		n := got[fingerprint(a)][0]
		require.Equal(c, "r webhook[0]", n.Receiver+" "+n.Integration)
		require.WithinDuration(c, time.Now(), n.At, 2*time.Minute)
	}
	d.Send(a, quiet)
	h.wait(t, 1)
	require.EventuallyWithT(t, func(c *assert.CollectT) { want(c, d) }, time.Minute, 20*time.Millisecond)
	stop()

	again := testOptions(t, "")
	again.Dir, again.ConfigFile = o.Dir, o.ConfigFile
	d, _ = start(t, again)
	d.Send(a, quiet)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		want(c, d)
	}, time.Minute, 20*time.Millisecond)
	require.Len(t, h.all(), 1)
}

func TestSilencesAndNotificationLogSurviveARestart(t *testing.T) {
	h := newWebhook(t)
	o := testOptions(t, h.config())
	d, stop := start(t, o)
	d.Send(firing("alertname", "Told", "machine", "m"))
	h.wait(t, 1)
	addSilence(t, d, "alertname", "Quiet")
	stop()

	again := testOptions(t, "")
	again.Dir, again.ConfigFile = o.Dir, o.ConfigFile
	d, _ = start(t, again)
	require.Contains(t, get(t, d, "/silences"), "Quiet")
	// One that was told of, one that is silenced, and one that is news.
	d.Send(firing("alertname", "Told", "machine", "m"), firing("alertname", "Quiet", "machine", "q"), firing("alertname", "News", "machine", "n"))
	require.Equal(t, "News", h.wait(t, 2)[1].Alerts[0].Labels["alertname"])
}

// What was acknowledged is on the disk at once: no shutdown comes with SIGKILL.
func TestAcknowledgedSilenceIsOnTheDisk(t *testing.T) {
	o := testOptions(t, newWebhook(t).config())
	d, _ := start(t, o)
	addSilence(t, d, "alertname", "Quiet")
	copied := testOptions(t, "")
	copied.ConfigFile = o.ConfigFile
	state, err := os.ReadFile(filepath.Join(o.Dir, "alertmanager", "silences"))
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(filepath.Join(copied.Dir, "alertmanager"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(copied.Dir, "alertmanager", "silences"), state, 0o600))
	other, err := New(copied)
	require.NoError(t, err)
	defer other.Close()
	require.Contains(t, get(t, other, "/silences"), "Quiet")
}

// A state file that cannot be read, and an empty one, is set aside, and the server starts
// with nothing; one that held nothing is not there at all.
func TestDamagedStateIsSetAside(t *testing.T) {
	for name, text := range map[string]string{"garbage": "\xff\xff\xff no protobuf", "empty": ""} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(t, newWebhook(t).config())
			var aside []string
			o.SetAside = func(file, what, hint string, why error) error {
				aside = append(aside, filepath.Base(file))
				require.Error(t, why)
				return os.Remove(file)
			}
			dir := filepath.Join(o.Dir, "alertmanager")
			require.NoError(t, os.MkdirAll(dir, 0o755))
			for _, name := range []string{"silences", "nflog"} {
				require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
			}
			d, stop := start(t, o)
			require.Equal(t, []string{"nflog", "silences"}, aside)
			stop()
			require.NoError(t, d.Close())
			require.NoFileExists(t, filepath.Join(dir, "silences"), "nothing to keep")
			again := testOptions(t, newWebhook(t).config())
			again.Dir, again.SetAside = o.Dir, o.SetAside
			d, stop = start(t, again)
			addSilence(t, d, "alertname", "Quiet")
			stop()
			require.FileExists(t, filepath.Join(dir, "silences"))
			require.Len(t, aside, 2)
		})
	}
}

func TestBrokenFileAtReloadKeepsWhatRuns(t *testing.T) {
	h := newWebhook(t)
	o := testOptions(t, h.config())
	d, _ := start(t, o)
	require.NoError(t, os.WriteFile(o.ConfigFile, []byte("route: {receiver: nobody}\nreceivers: [{name: r}]\n"), 0o600))
	err := d.ApplyAlertmanager(nil)
	require.ErrorContains(t, err, o.ConfigFile)
	require.ErrorContains(t, err, "nobody")
	require.Zero(t, testutil.ToFloat64(d.inside.metrics.reloaded))
	d.Send(firing("alertname", "A", "machine", "m"))
	h.wait(t, 1)
}

func TestReloadTakesAnotherReceiver(t *testing.T) {
	first, second := newWebhook(t), newWebhook(t)
	o := testOptions(t, first.config())
	d, _ := start(t, o)
	require.NoError(t, os.WriteFile(o.ConfigFile, []byte(second.config()), 0o600))
	require.NoError(t, d.ApplyAlertmanager(nil))
	d.Send(firing("alertname", "A", "machine", "m"))
	second.wait(t, 1)
	require.Empty(t, first.all())
}

// The inhibitions of the shipped alerts mute them, also beside a file of the
// user's, and nothing but them.
func TestInhibitionsOfShippedAlerts(t *testing.T) {
	h := newWebhook(t)
	d, _ := start(t, testOptions(t, h.config()))
	require.NoError(t, d.ApplyAlertmanager([]string{"ClockWrong", "ExporterDown", "FleetUnreachable", "MachineDown", "MachineNew", "MachineRebooted", "OomKill"}))
	d.Send(firing("alertname", "FleetUnreachable", "severity", "critical"), firing("alertname", "MachineNew", "machine", "new", "severity", "none"))
	h.wait(t, 2)
	d.Send(
		firing("alertname", "MachineDown", "machine", "a", "severity", "critical"),
		firing("alertname", "MachineDown", "machine", "b", "severity", "critical"),
		firing("alertname", "MachineRebooted", "machine", "new", "severity", "info"),
		firing("alertname", "ClockWrong", "machine", "new", "severity", "warning"), // not what a new machine is new by
		firing("alertname", "OomKill", "machine", "c", "severity", "warning"),
		firing("alertname", "Mine", "machine", "a", "severity", "warning"),
	)
	got := h.wait(t, 5)[2:]
	var told []string
	for _, m := range got {
		for _, a := range m.Alerts {
			told = append(told, a.Labels["alertname"]+" "+a.Labels["machine"])
		}
	}
	require.ElementsMatch(t, []string{"MachineNew new", "ClockWrong new", "OomKill c", "Mine a"}, told)
}

func TestShippedAlertsReachOthersOnlyOnRequest(t *testing.T) {
	var mu sync.Mutex
	var posted string
	am := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		posted += string(text)
	}))
	defer am.Close()
	for _, request := range []bool{false, true} {
		posted = ""
		o := testOptions(t, newWebhook(t).config())
		o.Shipped = func(name string) bool { return name == "Shipped" }
		o.ShippedOutside = request
		d, stop := start(t, o)
		cfg, err := config.Load("alerting: {alertmanagers: [{static_configs: [{targets: ['"+strings.TrimPrefix(am.URL, "http://")+"']}]}]}", promslog.NewNopLogger())
		require.NoError(t, err)
		require.NoError(t, d.ApplyConfig(cfg))
		require.NoError(t, d.ApplyDiscovery(cfg))
		require.EventuallyWithT(t, func(c *assert.CollectT) { require.Len(c, d.Notifier().Alertmanagers(), 1) }, time.Minute, 20*time.Millisecond)
		d.Send(firing("alertname", "Shipped"))
		d.Send(firing("alertname", "Mine"))
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			mu.Lock()
			defer mu.Unlock()
			require.Contains(c, posted, "Mine")
		}, time.Minute, 20*time.Millisecond)
		stop()
		require.Equal(t, request, strings.Contains(posted, "Shipped"))
	}
}

func TestStatusShowsNoSecret(t *testing.T) {
	d, _ := start(t, testOptions(t, newWebhook(t).config()+"  ntfy_configs: [{topic: a, token: s3cret}]\n"))
	status := get(t, d, "/status")
	require.Contains(t, status, "webhook_configs")
	require.NotContains(t, status, "s3cret")
}

func TestTestOfReceivers(t *testing.T) {
	h := newWebhook(t)
	d, _ := start(t, testOptions(t, h.config()+"  ntfy_configs: [{url: 'http://127.0.0.1:1', topic: a}]\n"))
	var results []TestResult
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		var err error
		results, err = d.Test(t.Context(), "r")
		require.NoError(c, err)
	}, time.Minute, 20*time.Millisecond)
	require.Len(t, results, 2)
	require.True(t, results[0].OK)
	require.False(t, results[1].OK)
	require.Contains(t, results[1].Error, "connection refused")
	require.Equal(t, "Test", h.all()[0].Alerts[0].Labels["alertname"])
	status := d.Receivers()
	require.NotNil(t, status[0].LastSuccess)
	require.NotNil(t, status[1].LastFailure)
	_, err := d.Test(t.Context(), "nobody")
	require.ErrorContains(t, err, `receiver "nobody" does not exist`)

	post := func(kind, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "/test", strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		w := httptest.NewRecorder()
		d.ReceiversHandler().ServeHTTP(w, r)
		return w
	}
	// Whoever asks in a loop gets nothing sent.
	for _, body := range []string{`{}`, `{"receiver": "r"}`} {
		w := post("application/json", body)
		require.Equal(t, http.StatusTooManyRequests, w.Code)
		wait, err := strconv.Atoi(w.Header().Get("Retry-After"))
		require.NoError(t, err)
		require.LessOrEqual(t, wait, 30)
		require.Positive(t, wait)
		require.Contains(t, w.Body.String(), "one test in 30 s is allowed")
	}
	require.Len(t, h.all(), 1)
	require.Equal(t, http.StatusNotFound, post("application/json", `{"receiver": "nobody"}`).Code)
	require.Equal(t, http.StatusBadRequest, post("application/json", `{"reciever": "r"}`).Code)
}

func TestPaceOfTests(t *testing.T) {
	var p testPace
	begin := time.Now()
	require.NoError(t, p.take([]string{"a"}, begin))
	require.NoError(t, p.take([]string{"b"}, begin.Add(20*time.Second)))
	require.ErrorContains(t, p.take([]string{"a"}, begin.Add(29*time.Second)), `receiver "a" was tested 29 s ago`)
	require.NoError(t, p.take([]string{"a"}, begin.Add(30*time.Second)))
	require.Error(t, p.take([]string{"b", "a"}, begin.Add(55*time.Second)), "of all one was tested a moment ago")
	require.NoError(t, p.take([]string{"b"}, begin.Add(55*time.Second)), "and the others were not")
}

// A receiver that answers 10 MB must fill neither the log nor the API.
func TestLongAnswersAreCut(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write(bytes.Repeat([]byte("€"), 3<<20))
	}))
	defer srv.Close()
	o := testOptions(t, (&webhook{URL: srv.URL}).config())
	var log lockedBuffer
	level := promslog.NewLevel()
	require.NoError(t, level.Set("debug"))
	o.Logger = promslog.New(&promslog.Config{Writer: &log, Level: level})
	d, stop := start(t, o)
	d.Send(firing("alertname", "A", "machine", "m"))
	var status []ReceiverStatus
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		status = d.Receivers()
		require.Len(c, status, 1)
		require.NotEmpty(c, status[0].LastError)
		require.Contains(c, log.String(), "more bytes")
	}, time.Minute, 20*time.Millisecond)
	require.Less(t, len(status[0].LastError), 1200)
	require.True(t, utf8.ValidString(status[0].LastError))
	result, err := d.Test(t.Context(), "r")
	require.NoError(t, err)
	require.Less(t, len(result[0].Error), 1200)
	stop()
	for line := range strings.Lines(log.String()) {
		require.Less(t, len(line), 8<<10)
	}
}

func TestLogIsCutWhereverTheTextIs(t *testing.T) {
	var out bytes.Buffer
	long := strings.Repeat("x", 1<<20)
	l := slog.New(cutting{slog.NewTextHandler(&out, nil)}).With("with", long).WithGroup("g")
	l.Info(long, "text", long, "err", errors.New(long), slog.Group("in", "text", long), "n", 7)
	require.Less(t, out.Len(), 8<<10)
	require.Contains(t, out.String(), "g.n=7")
	require.Equal(t, 5, strings.Count(out.String(), "more bytes"))
}
