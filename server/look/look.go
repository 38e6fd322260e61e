// Package look asks the exporters of machines for the journal of a unit and for the
// processes that run now, when an operator looks at a machine. Nothing is stored. It uses
// the addresses and credentials of scrapes; the exporter decides for itself whether this
// server may.
//
// What a machine responds is checked as what it was asked: a machine can show its own
// operators nothing but text.
package look

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/config"

	wire "github.com/clanmon/clanmon/internal/look"
)

// An Exporter is where a machine is scraped by a job.
type Exporter struct {
	Job string
	URL *url.URL
}

// Options for New.
type Options struct {
	Enabled bool
	// Exporters are those of a machine, in the order in which they are asked; known is
	// false if there is no such machine.
	Exporters func(machine string) (all []Exporter, known bool)
	// HTTPClientOptions and Dial are those with which targets are scraped.
	HTTPClientOptions []commonconfig.HTTPClientOption
	Dial              commonconfig.DialContextFunc
	Logger            *slog.Logger
}

// Look is safe for concurrent use.
type Look struct {
	opts  Options
	slots chan struct{}
	// recheck is how often it is checked whether who follows still may.
	recheck time.Duration

	mu      sync.Mutex
	jobs    map[string]commonconfig.HTTPClientConfig
	clients map[string]*http.Client // by job, made when they are needed
}

const (
	// maxOpen is how many looks there are at one time.
	maxOpen = 32
	// slack is what a response may take over the limits of its machine.
	slackTime  = 10 * time.Second
	slackBytes = 1 << 20
	// maxLine is the length of a line of a response: a message and its escapes.
	maxLine = 256 << 10
	// connectTime is how long an exporter may take to accept a connection.
	connectTime = 5 * time.Second
)

// New returns a Look that knows no job yet.
func New(o Options) *Look {
	return &Look{opts: o, slots: make(chan struct{}, maxOpen), recheck: 30 * time.Second}
}

// ApplyConfig learns with which credentials jobs are scraped.
func (l *Look) ApplyConfig(cfg *config.Config) error {
	scrapes, err := cfg.GetScrapeConfigs() // with those of scrape_config_files
	if err != nil {
		return err
	}
	jobs := make(map[string]commonconfig.HTTPClientConfig, len(scrapes))
	for _, s := range scrapes {
		jobs[s.JobName] = s.HTTPClientConfig
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.jobs, l.clients = jobs, make(map[string]*http.Client)
	return nil
}

// Client sends requests with the credentials of a job. It follows no redirects.
func (l *Look) Client(job string) (*http.Client, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.clients[job]; c != nil {
		return c, nil
	}
	settings, ok := l.jobs[job]
	if !ok {
		return nil, fmt.Errorf("the job %q no longer exists", job)
	}
	options := append([]commonconfig.HTTPClientOption{}, l.opts.HTTPClientOptions...)
	options = append(options, commonconfig.WithKeepAlivesDisabled(), commonconfig.WithDialContextFunc(l.opts.Dial))
	c, err := commonconfig.NewClientFromConfig(settings, job, options...)
	if err != nil {
		return nil, err
	}
	// Credentials and requests stay with the machine that was asked.
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	l.clients[job] = c
	return c, nil
}

// A refusal is why a machine cannot be looked at, for who asked.
type refusal struct {
	code int // of HTTP
	text string
}

func (r *refusal) Error() string { return r.text }

func refuse(code int, format string, args ...any) error {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// open asks the exporters of a machine one after the other, until one takes the request. The
// response is to be closed.
func (l *Look) open(ctx context.Context, machine string, asked wire.Request) (*http.Response, error) {
	all, known := l.opts.Exporters(machine)
	switch {
	case !known:
		return nil, refuse(http.StatusNotFound, "no machine is named %q: /api/clanmon/v1/machines lists the machines", machine)
	case len(all) == 0:
		return nil, refuse(http.StatusNotFound, "this server scrapes no exporter of %s, so it cannot look at it", machine)
	}
	body, err := json.Marshal(asked)
	if err != nil {
		return nil, err
	}
	body = append(body, '\n')
	var first error
	for _, e := range all {
		res, err := l.ask(ctx, e, body)
		if err == nil {
			return res, nil
		}
		if first == nil {
			first = err
		}
		// The others of a machine have nothing else to say; but where the first is
		// another program, or cannot be reached, one of them may be clanmon's.
		if r, ok := errors.AsType[*refusal](err); ok && r.code != http.StatusNotFound {
			return nil, err
		}
	}
	return nil, first
}

func (l *Look) ask(ctx context.Context, e Exporter, body []byte) (*http.Response, error) {
	client, err := l.Client(e.Job)
	if err != nil {
		return nil, err
	}
	where := &url.URL{Scheme: e.URL.Scheme, Host: e.URL.Host, Path: wire.Path}
	ctx, cancel := context.WithCancelCause(ctx)
	slow := time.AfterFunc(connectTime, func() { cancel(fmt.Errorf("no response in %s", connectTime)) })
	defer slow.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, where.String(), bytes.NewReader(body))
	if err != nil {
		cancel(nil)
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		} else if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err // without the URL
		}
		cancel(nil)
		return nil, fmt.Errorf("the exporter at %s (job %s): %w", where.Host, e.Job, err)
	}
	res.Body = &ending{res.Body, cancel}
	if res.StatusCode == http.StatusOK && strings.HasPrefix(res.Header.Get("Content-Type"), "application/x-ndjson") {
		return res, nil
	}
	defer res.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	text := wire.Visible(strings.TrimSpace(string(said)))
	switch res.StatusCode {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusUnauthorized:
		return nil, refuse(http.StatusBadGateway, "the exporter at %s (job %s) refuses: %s", where.Host, e.Job, text)
	}
	return nil, refuse(http.StatusNotFound, "the exporter at %s (job %s) cannot be looked through, it responds with %s: run clanmon's exporter with --look on the machine (docs/look.md)", where.Host, e.Job, res.Status)
}

// ending is a body that ends its request when it is closed.
type ending struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (e *ending) Close() error {
	defer e.cancel(nil)
	return e.ReadCloser.Close()
}

// read calls use for each message of a response until use returns false, and returns
// its end. A response without one is an error.
func read(body io.Reader, limit int64, use func(wire.Message) bool) (wire.End, error) {
	lines := bufio.NewScanner(io.LimitReader(body, limit))
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	for lines.Scan() {
		var m wire.Message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return wire.End{}, fmt.Errorf("the machine's response is not JSON as expected: %w", err)
		}
		if m.End != nil {
			m.End.Error, m.End.Incomplete = wire.Visible(m.End.Error), wire.Visible(m.End.Incomplete)
			return *m.End, nil
		}
		if e := m.Entry; e != nil {
			for _, text := range []*string{&e.Cursor, &e.Time, &e.Boot, &e.Priority, &e.Identifier, &e.PID, &e.Unit, &e.Message} {
				*text = wire.Visible(*text)
			}
		}
		if p := m.Process; p != nil {
			for _, text := range []*string{&p.Name, &p.Command, &p.Unit} {
				*text = wire.Visible(*text)
			}
		}
		if !use(m) {
			return wire.End{}, nil
		}
	}
	if err := lines.Err(); err != nil {
		return wire.End{}, fmt.Errorf("the machine's response broke off: %w", err)
	}
	return wire.End{}, errors.New("the machine's response broke off before its end")
}
