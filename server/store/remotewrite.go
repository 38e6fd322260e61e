package store

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/clanmon/clanmon/server/internal/envelope"
	"github.com/clanmon/clanmon/server/store/internal/resend"
)

// RemoteWrite is how sending to one URL of remote_write fares. Samples are counted
// since the server started.
type RemoteWrite struct {
	Name string `json:"name"` // of the configuration, or one that upstream gave it
	URL  string `json:"url"`  // without user, password and query

	State   string  `json:"state"`   // see the constants below
	Sent    float64 `json:"sent"`    // samples that the receiver took
	Pending float64 `json:"pending"` // samples in the queue; what is not read from the WAL yet is not among them
	Failed  float64 `json:"failed"`  // samples that the receiver refused for good, or that were too old
	Retried float64 `json:"retried"` // samples in requests that failed and were repeated

	// Resent are samples that are sent from the store because the receiver had not taken
	// them before a restart, or because they were stored late, and Refused those of them
	// that it did not want, which may be because it has them.
	Resent  float64 `json:"resent"`
	Refused float64 `json:"refused"`

	unreadable float64 // ranges of late samples that cannot be read

	// Position is the time up to which everything has arrived.
	Position time.Time `json:"position"`
	// Behind is how many seconds the newest sample that was sent is older than the
	// newest that the server has.
	Behind float64 `json:"behindSeconds"`
	// LastSent is the time of the newest sample that was sent; missing when none was.
	LastSent *time.Time `json:"lastSent,omitempty"`

	// LastError is what went wrong last, without secrets. Of receivers that fail at
	// the same time upstream logs one a minute, so it can be missing.
	LastError   string     `json:"lastError,omitempty"`
	LastErrorAt *time.Time `json:"lastErrorAt,omitempty"`
}

// States of a remote write.
const (
	// RemoteBehind is behind by more than behindAfter, or has sent nothing yet while
	// something failed.
	RemoteBehind = "behind"
	// RemoteRejecting means that nothing of what is sent is taken.
	RemoteRejecting = "rejecting"
	// RemoteCatchingUp means that the server sends what was missed before a restart.
	RemoteCatchingUp = "catching up"

	remoteOK     = "ok"
	remoteUnused = "idle" // there was nothing to send yet
)

// Failing reports whether somebody should look at it.
func (w RemoteWrite) Failing() bool {
	return w.State == RemoteBehind || w.State == RemoteRejecting || w.Behind > behindAfter.Seconds()
}

// behindAfter is two of the usual scrape intervals.
const behindAfter = 2 * time.Minute

// RemoteWrites tells how each URL of remote_write fares, by name. Safe for
// concurrent use.
func (s *Store) RemoteWrites() ([]RemoteWrite, error) {
	values, err := s.remoteMetrics()
	if err != nil {
		return nil, err
	}
	newest := values["highest_timestamp_in_seconds"][""]
	all := []RemoteWrite{}
	for _, r := range s.resend.Status() {
		w := s.remotes.status(r, newest, func(metric string) float64 { return values[metric][r.Name] })
		all = append(all, w)
	}
	slices.SortFunc(all, func(a, b RemoteWrite) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// remoteCollector are the metrics of remote write that upstream lacks.
type remoteCollector struct{ store *Store }

func remoteDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("clanmon_remote_write_"+name, help, []string{"remote_name", "url"}, nil)
}

var (
	descPosition   = remoteDesc("position_timestamp_seconds", "Time up to which the receiver has everything that is stored.")
	descBehind     = remoteDesc("behind_seconds", "How much older the newest sample that was sent is than the newest one that is stored.")
	descCatchingUp = remoteDesc("catching_up", "Whether the receiver is sent what it missed before a restart.")
	descRejecting  = remoteDesc("rejecting", "Whether the receiver takes nothing of what it is sent.")
	descResent     = remoteDesc("resent_samples_total", "Samples that a receiver missed before a restart, or that were stored late, and that the server sent from its store.")
	descRefused    = remoteDesc("refused_samples_total", "Samples that were sent from the store and that the receiver refused; it may have them.")
	descUnreadable = remoteDesc("unreadable_ranges_total", "Ranges of late samples that were not sent because they cannot be read from the store.")
)

// Describe implements prometheus.Collector.
func (c remoteCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descPosition, descBehind, descCatchingUp, descRejecting, descResent, descRefused, descUnreadable} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c remoteCollector) Collect(out chan<- prometheus.Metric) {
	all, err := c.store.RemoteWrites()
	if err != nil {
		out <- prometheus.NewInvalidMetric(descPosition, err)
	}
	for _, w := range all {
		is := func(state string) float64 {
			if w.State == state {
				return 1
			}
			return 0
		}
		for _, m := range []struct {
			desc  *prometheus.Desc
			kind  prometheus.ValueType
			value float64
		}{
			{descPosition, prometheus.GaugeValue, float64(w.Position.UnixMilli()) / 1000},
			{descBehind, prometheus.GaugeValue, w.Behind},
			{descCatchingUp, prometheus.GaugeValue, is(RemoteCatchingUp)},
			{descRejecting, prometheus.GaugeValue, is(RemoteRejecting)},
			{descResent, prometheus.CounterValue, w.Resent},
			{descRefused, prometheus.CounterValue, w.Refused},
			{descUnreadable, prometheus.CounterValue, w.unreadable},
		} {
			out <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value, w.Name, w.URL)
		}
	}
}

// remoteMetrics are the values of upstream's queues.
func (s *Store) remoteMetrics() (resend.Metrics, error) {
	families, err := s.remoteRegistry.own.Gather()
	if err != nil {
		return nil, err
	}
	values := make(resend.Metrics)
	for _, f := range families {
		metric, ok := strings.CutPrefix(f.GetName(), "prometheus_remote_storage_")
		if !ok {
			continue
		}
		values[metric] = make(map[string]float64)
		for _, m := range f.GetMetric() {
			if label(m, "reason") == "dropped_series" { // by write_relabel_configs
				continue
			}
			values[metric][label(m, "remote_name")] += m.GetGauge().GetValue() + m.GetCounter().GetValue() // one of the two is 0
		}
	}
	return values, nil
}

// walReads is how many records of the WAL the queue of this name has read.
func (s *Store) walReads(name string) (n float64) {
	families, _ := s.remoteRegistry.own.Gather()
	for _, f := range families {
		if f.GetName() != "prometheus_wal_watcher_records_read_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if label(m, "consumer") == name {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// RemoteWriteHandler serves RemoteWrites.
func (s *Store) RemoteWriteHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			envelope.Error(w, http.StatusMethodNotAllowed, "only GET")
			return
		}
		all, err := s.RemoteWrites()
		if err != nil {
			envelope.Error(w, http.StatusInternalServerError, err.Error())
			return
		}
		envelope.Success(w, all)
	})
}

// remotes is what the metrics of remote write do not say.
type remotes struct {
	born time.Time

	mu     sync.Mutex
	errors map[string]remoteError // by name
}

type remoteError struct {
	text string
	at   time.Time
}

func (r *remotes) status(of resend.Status, newest float64, value func(metric string) float64) RemoteWrite {
	w := RemoteWrite{
		Name: of.Name, URL: of.URL, State: remoteOK, Pending: value("samples_pending"), Retried: value("samples_retried_total"),
		Failed: value("samples_failed_total") + value("samples_dropped_total"),
		Resent: of.Resent, Refused: of.Refused, unreadable: of.Unreadable, Position: of.Position.UTC(),
	}
	from := float64(max(r.born.Unix(), of.Position.Unix()))
	if sent := value("queue_highest_sent_timestamp_seconds"); sent > 0 {
		at := time.Unix(int64(sent), 0).UTC()
		w.LastSent, from = &at, sent
		// Upstream counts each attempt.
		w.Sent = max(0, value("samples_total")-w.Retried-value("samples_failed_total"))
	}
	if of.CatchingUp || of.Rejecting { // upstream takes what was refused for sent
		from = float64(of.Position.Unix())
		w.LastSent = &w.Position
	}
	w.Sent += of.Resent
	w.Behind = max(0, newest-from)
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.errors[of.Name]; ok {
		w.LastError, w.LastErrorAt = e.text, &e.at
	}
	failed := w.LastSent == nil && w.Retried+w.Failed > 0
	switch {
	case of.Rejecting:
		w.State = RemoteRejecting
	case of.CatchingUp:
		w.State = RemoteCatchingUp
	case newest == 0:
		w.State = remoteUnused
	case failed || w.Behind > behindAfter.Seconds():
		w.State = RemoteBehind
	}
	return w
}

// withoutSecrets is scheme, host and path of a URL.
func withoutSecrets(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

var address = regexp.MustCompile(`https?://[^\s"]+`)

// masked is a text whose URLs have lost their secrets.
func masked(text string) string { return address.ReplaceAllStringFunc(text, withoutSecrets) }

// record remembers an error of remote write that is logged. It may quote the
// whole answer of the receiver, and the URL with all that is in it.
func (r *remotes) record(name string, err error) {
	const most = 1 << 10
	text := masked(err.Error())
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errors[name] = remoteError{text, time.Now().UTC()}
}

// Masked is all of g, with the URLs of remote write and remote read without
// secrets, which upstream has in the label url.
func Masked(g prometheus.Gatherer) prometheus.Gatherer {
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		families, err := g.Gather()
		for _, f := range families {
			if !strings.HasPrefix(f.GetName(), "prometheus_remote_storage_") {
				continue
			}
			for _, m := range f.GetMetric() {
				m.Label = slices.Clone(m.Label) // it is the collector's own
				for i, l := range m.Label {
					if l.GetName() == "url" {
						text := withoutSecrets(l.GetValue())
						m.Label[i] = &dto.LabelPair{Name: l.Name, Value: &text}
					}
				}
			}
		}
		return families, err
	})
}

// remoteLog passes the log of remote write on without secrets, and keeps the errors
// in it: no metric has their text.
type remoteLog struct {
	slog.Handler
	remotes *remotes
	name    string // of the queue; "" for what is not of one
}

// Enabled implements slog.Handler.
func (l remoteLog) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn || l.Handler.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (l remoteLog) Handle(ctx context.Context, r slog.Record) error {
	if l.name != "" && r.Level >= slog.LevelWarn {
		r.Attrs(func(a slog.Attr) bool {
			err, ok := a.Value.Any().(error)
			if ok && a.Key == "err" {
				l.remotes.record(l.name, err)
			}
			return true
		})
	}
	if !l.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	passed := slog.NewRecord(r.Time, r.Level, masked(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		passed.AddAttrs(maskedAttr(a))
		return true
	})
	return l.Handler.Handle(ctx, passed)
}

// maskedAttr is an attribute without the secrets of URLs in it. Numbers and times
// have none.
func maskedAttr(a slog.Attr) slog.Attr {
	if k := a.Value.Kind(); k == slog.KindString || k == slog.KindAny {
		if text := a.Value.String(); address.MatchString(text) {
			return slog.String(a.Key, masked(text))
		}
	}
	return a
}

// WithAttrs implements slog.Handler.
func (l remoteLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	attrs = slices.Clone(attrs)
	for i, a := range attrs {
		if a.Key == "remote_name" {
			l.name = a.Value.String()
		}
		attrs[i] = maskedAttr(a)
	}
	l.Handler = l.Handler.WithAttrs(attrs)
	return l
}

// WithGroup implements slog.Handler.
func (l remoteLog) WithGroup(name string) slog.Handler {
	l.Handler = l.Handler.WithGroup(name)
	return l
}
