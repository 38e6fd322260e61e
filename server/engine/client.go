package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	commonconfig "github.com/prometheus/common/config"
)

// What the engine may cost.
const (
	concurrent = 4                // requests at once
	maxBody    = 32 << 20         // bytes of a response, uncompressed
	pause      = 10 * time.Second // without requests after some that had no response
	patience   = 3                // requests in a row that may take too long
)

// client sends requests to one engine.
type client struct {
	url     *url.URL
	dialect Dialect
	timeout time.Duration
	http    *http.Client
	slots   chan struct{}
	now     func() time.Time
	o       Options

	requests *prometheus.CounterVec

	mu      sync.Mutex
	misses  int       // requests without a response since the last one that had one
	away    error     // of the last request, if nobody seems to be there
	resumes time.Time // when the next one may be sent
}

func newClient(o Options) (*client, error) {
	f, err := o.load()
	var h *http.Client
	if err == nil {
		h, err = commonconfig.NewClientFromConfig(f.HTTP, "query", commonconfig.WithUserAgent("clanmon"))
	}
	if err != nil {
		return nil, fmt.Errorf("--query.config-file %q: %w", o.ConfigFile, err)
	}
	c := &client{
		url: o.URL, dialect: o.Dialect, timeout: time.Duration(f.Timeout), http: h, o: o,
		slots: make(chan struct{}, concurrent), now: o.Now,
		requests: promauto.With(o.Registerer).NewCounterVec(prometheus.CounterOpts{
			Name: "clanmon_query_url_requests_total",
			Help: "Requests for history to --query.url, by result: ok, failed, or skipped because the engine did not respond shortly before.",
		}, []string{"result"}),
	}
	for _, result := range []string{"ok", "failed", "skipped"} {
		c.requests.WithLabelValues(result)
	}
	return c, nil
}

// answer is a response of the API.
type answer struct {
	Status    string          `json:"status"`
	Data      json.RawMessage `json:"data"`
	ErrorType string          `json:"errorType"`
	Error     string          `json:"error"`
	Warnings  []string        `json:"warnings"`
}

// request is a query; a step of 0 is for an instant one. Times are in milliseconds.
type request struct {
	query             string
	first, last, step int64
	lookback          time.Duration
}

func (c *client) query(ctx context.Context, r request) (*answer, error) {
	form := url.Values{"query": {r.query}}
	if r.step == 0 {
		form.Set("time", seconds(r.first))
	} else {
		form.Set("start", seconds(r.first))
		form.Set("end", seconds(r.last))
		form.Set("step", seconds(r.step))
	}
	switch lookback := seconds(r.lookback.Milliseconds()); c.dialect {
	case VictoriaMetrics:
		form.Set("nocache", "1") // or it moves start and end
		form.Set("max_lookback", lookback+"s")
	default:
		form.Set("lookback_delta", lookback)
	}
	if c.dialect == Thanos {
		form.Set("dedup", "true")
		form.Set("partial_response", "true")
		if r.step > 0 {
			form.Set("max_source_resolution", "auto")
		}
	}
	if r.step == 0 {
		return c.do(ctx, http.MethodPost, "query", form)
	}
	return c.do(ctx, http.MethodPost, "query_range", form)
}

func seconds(ms int64) string { return strconv.FormatFloat(float64(ms)/1000, 'f', -1, 64) }

// do sends a request, within the limits. Its errors are for people to read, and have
// neither the URL nor what the engine's configuration contains.
func (c *client) do(ctx context.Context, method, path string, form url.Values) (*answer, error) {
	limit := fmt.Errorf("no response within %s", c.timeout)
	timed, cancel := context.WithTimeoutCause(ctx, c.timeout, limit)
	defer cancel()
	if err := c.isAway(); err != nil {
		return nil, err
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-timed.Done():
		return nil, errors.New("too many concurrent requests")
	}
	if err := c.isAway(); err != nil { // since
		return nil, err
	}
	a, misses, err := c.send(timed, method, path, form)
	if ctx.Err() != nil && err != nil {
		return nil, errors.New("the query timed out or was cancelled")
	}
	if err != nil && timed.Err() != nil {
		err, misses = limit, 1
	}
	c.found(err, misses)
	return a, err
}

// send reports 0 misses for a response, and otherwise how many this counts for.
func (c *client) send(ctx context.Context, method, path string, form url.Values) (_ *answer, misses int, _ error) {
	to := c.url.JoinPath("api/v1", path)
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader(form.Encode())
	} else {
		to.RawQuery = form.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, to.String(), body)
	if err != nil {
		return nil, 0, errors.New("the URL is not valid")
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	response, err := c.http.Do(r)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		if e, ok := errors.AsType[*net.OpError](err); ok && e.Addr != nil {
			cause := e.Err
			if call, ok := errors.AsType[*os.SyscallError](cause); ok {
				cause = call.Err
			}
			err = fmt.Errorf("%s: %w", e.Addr, cause)
		}
		return nil, patience, errors.New(short(err.Error()))
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	if err != nil {
		return nil, 1, errors.New("the response was cut off")
	}
	if len(text) > maxBody {
		return nil, 0, fmt.Errorf("the response is larger than %d MiB; choose a shorter range or fewer series", maxBody>>20)
	}
	a := &answer{}
	parsed := json.Unmarshal(text, a)
	switch {
	case parsed == nil && a.Error != "":
		return nil, 0, fmt.Errorf("%s: %s", response.Status, short(a.Error))
	case response.StatusCode/100 != 2:
		return nil, 0, errors.New(response.Status)
	case parsed != nil || a.Status != "success":
		return nil, 0, fmt.Errorf("the response (%s) is not one of Prometheus' API; check the path of --query.url", short(response.Header.Get("Content-Type")))
	}
	// Whether a metric looks like a counter is not about history.
	a.Warnings = slices.DeleteFunc(a.Warnings, func(w string) bool { return strings.HasPrefix(w, "PromQL ") })
	a.Warnings = a.Warnings[:min(len(a.Warnings), 3)]
	for n := range a.Warnings {
		a.Warnings[n] = short(a.Warnings[n])
	}
	return a, 0, nil
}

// short is text of others, as much as fits a line.
func short(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "")), " ")
	if r := []rune(text); len(r) > 200 {
		return string(r[:199]) + "…"
	}
	return text
}

// isAway returns the error of the last request if the next one would wait in vain.
func (c *client) isAway() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away == nil || !c.now().Before(c.resumes) {
		return nil
	}
	c.requests.WithLabelValues("skipped").Inc()
	return c.away
}

// found notes how a request went, and logs when that changes.
func (c *client) found(err error, misses int) {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	c.requests.WithLabelValues(result).Inc()
	c.mu.Lock()
	defer c.mu.Unlock()
	log := c.o.Logger.With("url", c.url.Redacted())
	if misses == 0 {
		if c.away != nil {
			log.Info("The engine of --query.url responds again")
		}
		c.misses, c.away = 0, nil
		return
	}
	if c.misses = min(c.misses+misses, patience); c.misses < patience {
		return
	}
	if c.away == nil {
		log.Warn("The engine of --query.url does not respond; queries lack samples that are older than the store of this server", "err", err)
	}
	c.away, c.resumes = err, c.now().Add(pause)
}
