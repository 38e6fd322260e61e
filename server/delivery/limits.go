package delivery

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/alertmanager/api/v2/models"
	"github.com/prometheus/common/model"

	"github.com/clanmon/clanmon/server/internal/envelope"
	"github.com/clanmon/clanmon/server/internal/pattern"
)

// Alertmanager takes whatever it is sent, on a port that people protect. Here it is
// the port of everything, so what comes from outside has limits.
const (
	maxAlertLabels     = 64        // and as many annotations
	maxLabelValue      = 4 << 10   // bytes, also of a name and of the source's URL
	maxAnnotationValue = 16 << 10  // bytes
	maxPattern         = 4 << 10   // bytes of a silence's matcher: long expressions take minutes to compile
	maxQuery           = 16 << 10  // bytes of a URL's filters, which are expressions, too
	maxWritten         = 256 << 10 // bytes of the same, with repetitions written out
	maxMatchers        = 64        // of a silence

	// Dates beyond these are mistakes, and those of the year 10000 cannot even be
	// written as JSON. Alerts end by themselves, so one that never does stays for ever.
	longestAlert   = 366 * 24 * time.Hour
	longestSilence = 100 * longestAlert

	// perReceivedAlert is what the alerts from outside may take on average.
	perReceivedAlert = 4 << 10
)

// Defaults of limits.
const (
	DefaultMaxReceived = 10000
	// Without an alertmanager.yml:
	DefaultMaxSilences     = 2000
	DefaultMaxSilenceBytes = 16 << 10
)

const (
	maxReceivedFlag     = "--alertmanager.alerts.max-received"
	maxSilencesFlag     = "--alertmanager.silences.max-silences"
	maxSilenceBytesFlag = "--alertmanager.silences.max-silence-size-bytes"
)

// refusal is an answer to what is over a limit.
type refusal struct {
	code int
	why  string
}

func refused(code int, format string, args ...any) *refusal {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// write answers as Alertmanager does.
func (r *refusal) write(w http.ResponseWriter) {
	if r.code == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "60")
	}
	envelope.Write(w, r.code, r.why)
}

// readBody reads the body of r, which can be read again afterwards.
func readBody(r *http.Request) ([]byte, *refusal) {
	body, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	if big, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, refused(http.StatusRequestEntityTooLarge, "the body exceeds the limit of %d bytes", big.Limit)
	}
	return body, nil
}

// received are the alerts from outside that are held.
type received struct {
	holds func(model.Fingerprint) bool // whether the alert is still there

	mu    sync.Mutex
	known map[model.Fingerprint]receivedAlert
	bytes int
}

type receivedAlert struct {
	size int
	at   time.Time
}

// onTheWay is how long an alert may take from take to where holds sees it.
const onTheWay = time.Minute

// take remembers an alert, unless there are limit of them. One that is held already
// may come as often as it likes.
func (h *received) take(fp model.Fingerprint, size, limit int, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	old, known := h.known[fp]
	full := func() bool {
		return !known && len(h.known) >= limit || h.bytes-old.size+size > limit*perReceivedAlert
	}
	if full() {
		for other, a := range h.known {
			if other != fp && now.Sub(a.at) > onTheWay && !h.holds(other) {
				delete(h.known, other)
				h.bytes -= a.size
			}
		}
		if full() {
			return false
		}
	}
	if h.known == nil {
		h.known = make(map[model.Fingerprint]receivedAlert)
	}
	h.known[fp] = receivedAlert{size, now}
	h.bytes += size - old.size
	return true
}

// limitAlerts looks at the alerts in r and takes those out that are too many. With
// stop nothing of r may be passed on; otherwise the refusal, if any, is the answer
// once the rest has been taken in. What is not even a list is left to upstream.
func (in *inside) limitAlerts(r *http.Request) (answer *refusal, stop bool) {
	body, tooBig := readBody(r)
	if tooBig != nil {
		return tooBig, true
	}
	var all []json.RawMessage
	if json.Unmarshal(body, &all) != nil {
		return nil, false
	}
	kept := make([]json.RawMessage, 0, len(all))
	alerts := make([]models.PostableAlert, len(all))
	for i, text := range all {
		if alerts[i].UnmarshalJSON(text) != nil {
			return nil, false
		}
		if answer := checkAlert(&alerts[i], time.Now()); answer != nil {
			return answer, true
		}
	}
	limit, now := in.opts.MaxReceived, time.Now()
	for i, a := range alerts {
		if limit <= 0 || in.received.take(fingerprint(a.Labels), len(all[i]), limit, now) {
			kept = append(kept, all[i])
		}
	}
	if len(kept) == len(all) {
		return nil, false
	}
	answer = refused(http.StatusTooManyRequests, "%d of %d alerts were refused: the maximum number of alerts from outside is reached, %d of %d KiB each on average (%s)",
		len(all)-len(kept), len(all), limit, perReceivedAlert>>10, maxReceivedFlag)
	if len(kept) == 0 {
		return answer, true
	}
	body, err := json.Marshal(kept)
	if err != nil { // it has just been read
		return refused(http.StatusBadRequest, "%v", err), true
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return answer, false
}

func checkAlert(a *models.PostableAlert, now time.Time) *refusal {
	name := cut(a.Labels["alertname"])
	for field, date := range map[string]time.Time{"startsAt": time.Time(a.StartsAt), "endsAt": time.Time(a.EndsAt)} {
		if why := badDate(date, now, longestAlert); why != "" {
			return refused(http.StatusBadRequest, "alert %q: %s %s", name, field, why)
		}
	}
	if len(a.GeneratorURL) > maxLabelValue {
		return refused(http.StatusBadRequest, "alert %q: generatorURL exceeds the limit of %d bytes", name, maxLabelValue)
	}
	for _, set := range []struct {
		what   string
		values models.LabelSet
		limit  int
	}{{"label", a.Labels, maxLabelValue}, {"annotation", a.Annotations, maxAnnotationValue}} {
		if len(set.values) > maxAlertLabels {
			return refused(http.StatusBadRequest, "alert %q: %d %ss exceed the limit of %d", name, len(set.values), set.what, maxAlertLabels)
		}
		for n, v := range set.values {
			if len(n) > maxLabelValue {
				return refused(http.StatusBadRequest, "alert %q: the name of a %s exceeds the limit of %d bytes", name, set.what, maxLabelValue)
			}
			if len(v) > set.limit {
				return refused(http.StatusBadRequest, "alert %q: %s %q has %d bytes; the limit is %d", name, set.what, cut(n), len(v), set.limit)
			}
		}
	}
	return nil
}

// fingerprint is what the alert with these labels will have: empty ones do not count.
func fingerprint(ls models.LabelSet) model.Fingerprint {
	set := make(model.LabelSet, len(ls))
	for n, v := range ls {
		if v != "" {
			set[model.LabelName(n)] = model.LabelValue(v)
		}
	}
	return set.Fingerprint()
}

// badDate says why a date cannot be meant; "" if it can, or is not given.
func badDate(date, now time.Time, longest time.Duration) string {
	switch {
	case date.IsZero() || date.Unix() == 0: // strfmt's zero
		return ""
	case date.Year() < 1970:
		return "is before 1970"
	case date.After(now.Add(longest)):
		return fmt.Sprintf("is more than %d days from now", int(longest.Hours()/24))
	}
	return ""
}

// limitSilence refuses a silence with a date or a pattern that is too long.
func limitSilence(body []byte, now time.Time) *refusal {
	var ask struct {
		Matchers []struct {
			Name, Value string
			IsRegex     bool
		}
	}
	var whole models.PostableSilence
	if json.Unmarshal(body, &ask) != nil || json.Unmarshal(body, &whole) != nil {
		return nil // upstream says what is wrong with it
	}
	if whole.StartsAt != nil && whole.EndsAt != nil { // upstream wants both
		for field, date := range map[string]time.Time{"startsAt": time.Time(*whole.StartsAt), "endsAt": time.Time(*whole.EndsAt)} {
			if why := badDate(date, now, longestSilence); why != "" {
				return refused(http.StatusBadRequest, "%s %s", field, why)
			}
		}
	}
	if len(ask.Matchers) > maxMatchers {
		return refused(http.StatusBadRequest, "matchers: %d are over the limit of %d", len(ask.Matchers), maxMatchers)
	}
	for _, m := range ask.Matchers {
		if len(m.Value) > maxPattern {
			return refused(http.StatusBadRequest, "the matcher of %q has %d bytes; the limit is %d", cut(m.Name), len(m.Value), maxPattern)
		}
		if m.IsRegex && pattern.Size(m.Value) > maxPattern*pattern.PerByte {
			return refused(http.StatusBadRequest, "the matcher of %q repeats too much: %d KiB of memory; the limit is %d", cut(m.Name), pattern.Size(m.Value)>>10, maxPattern*pattern.PerByte>>10)
		}
	}
	return nil
}

var repetition = regexp.MustCompile(`\{(\d*),?(\d*)\}`)

// written is about how long the expressions of a URL's filters are with their
// repetitions written out.
func written(query string) int {
	text, err := url.QueryUnescape(query)
	if err != nil {
		return len(query) // upstream refuses it
	}
	times := 1
	for _, m := range repetition.FindAllStringSubmatch(text, -1) {
		least, _ := strconv.Atoi(m[1])
		most, _ := strconv.Atoi(m[2])
		times += max(least, most)
	}
	return times * len(text)
}

// namingFlag adds to upstream's answer about a limit of silences which flag it is.
func namingFlag(body []byte) []byte {
	var text string
	if json.Unmarshal(body, &text) != nil {
		return body
	}
	switch {
	case strings.Contains(text, "exceeded maximum size"):
		text += "; " + maxSilenceBytesFlag + " sets the limit"
	case strings.Contains(text, "exceeded maximum number of silences"):
		text += "; expired silences count until --alertmanager.data.retention is over; " + maxSilencesFlag + " sets the limit"
	default:
		return body
	}
	changed, _ := json.Marshal(text)
	return append(changed, '\n')
}

// isAlerts reports whether r sends alerts; upstream's router cleans paths.
func isAlerts(r *http.Request) bool {
	return r.Method == http.MethodPost && path.Clean(r.URL.Path) == "/api/v2/alerts"
}
