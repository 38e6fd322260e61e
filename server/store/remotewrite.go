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

// RemoteBehind is the state of a remote write that is behind by more than
// behindAfter, or that has sent nothing yet while something failed.
const RemoteBehind = "behind"

// Other states of a remote write.
const (
	remoteOK     = "ok"
	remoteUnused = "idle" // there was nothing to send yet
)

// behindAfter is two of the usual scrape intervals.
const behindAfter = 2 * time.Minute

// RemoteWrites tells how each URL of remote_write fares, by name. Safe for
// concurrent use.
func (s *Store) RemoteWrites() ([]RemoteWrite, error) {
	families, err := s.opts.Gatherer.Gather()
	if err != nil {
		return nil, err
	}
	values := make(map[string]map[string]float64) // by metric and name of the queue
	addresses := make(map[string]string)
	for _, f := range families {
		metric, ok := strings.CutPrefix(f.GetName(), "prometheus_remote_storage_")
		if !ok {
			continue
		}
		for _, m := range f.GetMetric() {
			if values[metric] == nil {
				values[metric] = make(map[string]float64)
			}
			name := label(m, "remote_name")
			values[metric][name] = m.GetGauge().GetValue() + m.GetCounter().GetValue() // one of the two is 0
			addresses[name] = withoutSecrets(label(m, "url"))
		}
	}
	newest := values["highest_timestamp_in_seconds"][""]
	all := []RemoteWrite{}
	for name := range values["samples_pending"] {
		w := s.remotes.status(name, newest, func(metric string) float64 { return values[metric][name] })
		w.URL = addresses[name]
		all = append(all, w)
	}
	slices.SortFunc(all, func(a, b RemoteWrite) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
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

func (r *remotes) status(name string, newest float64, value func(metric string) float64) RemoteWrite {
	w := RemoteWrite{
		Name: name, State: remoteOK, Pending: value("samples_pending"), Retried: value("samples_retried_total"),
		Failed: value("samples_failed_total") + value("samples_dropped_total"),
	}
	from := float64(r.born.Unix())
	if sent := value("queue_highest_sent_timestamp_seconds"); sent > 0 {
		at := time.Unix(int64(sent), 0).UTC()
		w.LastSent, from = &at, sent
		// Upstream counts each attempt.
		w.Sent = max(0, value("samples_total")-w.Retried-value("samples_failed_total"))
	}
	w.Behind = max(0, newest-from)
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.errors[name]; ok {
		w.LastError, w.LastErrorAt = e.text, &e.at
	}
	failed := w.LastSent == nil && w.Retried+w.Failed > 0
	switch {
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
