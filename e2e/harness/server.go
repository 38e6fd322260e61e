package harness

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Server is a running server: clanmon's, or any that is compatible.
type Server struct {
	*Process
	URL    string
	Dir    string // its working directory
	Data   string
	Config string // the configuration file, if it has one

	t      testing.TB
	client *http.Client
}

// ServerOptions say how to start a Server.
type ServerOptions struct {
	Path   string // the binary: clanmon by default
	Config string // text of the configuration file; none is passed when empty
	Data   string // a new directory by default
	Args   []string
	Agent  bool
	Env    []string
	Client *http.Client      // for TLS; URL becomes https if set
	Host   *Host             // another host to run on
	Listen string            // a free address by default
	Bare   bool              // pass no flag but the address
	Files  map[string]string // of the working directory
}

// LocalJobs are the jobs of a server that nothing configures, on this machine.
func LocalJobs() []string {
	jobs := []string{"clanmon", "node"}
	if exists("/run/systemd/system") || exists("/run/dbus/system_bus_socket") {
		jobs = append(jobs, "systemd")
	}
	return jobs
}

// StartServer starts a server and waits until it is ready.
func StartServer(t testing.TB, o ServerOptions) *Server {
	t.Helper()
	s := LaunchServer(t, o)
	s.WaitReady()
	return s
}

// LaunchServer starts a server and does not wait.
func LaunchServer(t testing.TB, o ServerOptions) *Server {
	t.Helper()
	s := &Server{t: t, Dir: t.TempDir(), Data: o.Data, client: o.Client}
	scheme := "https"
	if s.client == nil {
		s.client, scheme = &http.Client{Timeout: Patience}, "http"
		if o.Host != nil {
			s.client = o.Host.Client()
		}
	}
	if s.Data == "" {
		s.Data = filepath.Join(s.Dir, "data")
	}
	if o.Listen == "" {
		o.Listen = Address(t)
	}
	s.URL = scheme + "://" + o.Listen
	for name, text := range o.Files {
		WriteFile(t, s.Dir, name, text)
	}
	var args []string
	if o.Path == "" {
		args = append(args, "server")
	}
	args = append(args, "--web.listen-address="+o.Listen)
	if o.Config != "" {
		s.Config = WriteFile(t, s.Dir, "prometheus.yml", o.Config)
		args = append(args, "--config.file="+s.Config)
	}
	if !o.Bare {
		// New targets at once: it is 5 s, for the sake of large fleets.
		args = append(args, "--scrape.discovery-reload-interval=100ms")
	}
	switch {
	case o.Bare:
	case o.Agent:
		args = append(args, "--agent", "--storage.agent.path="+s.Data)
	default:
		args = append(args, "--storage.tsdb.path="+s.Data)
	}
	c := Command{Path: o.Path, Args: append(args, o.Args...), Dir: s.Dir, Env: o.Env}
	if o.Host != nil {
		c = o.Host.Command(t, c)
	}
	s.Process = Start(t, c)
	return s
}

// WaitReady waits until the server says that it is ready.
func (s *Server) WaitReady() {
	s.t.Helper()
	Eventually(s.t, Patience, func() error {
		a, err := s.TryGet("/-/ready")
		switch {
		case err == nil && a.Status == http.StatusOK:
			return nil
		case s.Exited():
			require.Fail(s.t, "the server exited before it was ready", "log:\n%s", tail(s.Log(), 4000))
		case err == nil:
			err = fmt.Errorf("/-/ready: %d %s", a.Status, a.Body)
		}
		return err
	})
}

// Answer is an HTTP answer.
type Answer struct {
	Status      int
	ContentType string
	Header      http.Header
	Body        string
}

// TryGet gets a path of the server.
func (s *Server) TryGet(path string) (Answer, error) {
	req, err := http.NewRequest(http.MethodGet, s.URL+path, nil)
	if err != nil {
		return Answer{}, err
	}
	return s.Do(req)
}

// Get gets a path of the server, which has to answer, whatever it says.
func (s *Server) Get(path string) Answer {
	s.t.Helper()
	a, err := s.TryGet(path)
	require.NoError(s.t, err)
	return a
}

// Post posts to a path of the server.
func (s *Server) Post(path, contentType, body string) Answer {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodPost, s.URL+path, strings.NewReader(body))
	require.NoError(s.t, err)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	a, err := s.Do(req)
	require.NoError(s.t, err)
	return a
}

// Do sends a request that the caller made.
func (s *Server) Do(req *http.Request) (Answer, error) {
	r, err := s.client.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return Answer{Status: r.StatusCode, ContentType: r.Header.Get("Content-Type"), Header: r.Header, Body: string(b)}, err
}

// Sample is one element of an instant vector.
type Sample struct {
	Labels map[string]string
	Value  float64
}

// TryQuery evaluates an instant query that gives a vector; at zero means now.
func (s *Server) TryQuery(expr string, at time.Time) ([]Sample, error) {
	v := url.Values{"query": {expr}}
	if !at.IsZero() {
		v.Set("time", strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64))
	}
	a, err := s.TryGet("/api/v1/query?" + v.Encode())
	if err != nil {
		return nil, err
	}
	var body struct {
		Error string
		Data  struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.Unmarshal([]byte(a.Body), &body); err != nil {
		return nil, fmt.Errorf("query %s: %d %s: %w", expr, a.Status, a.Body, err)
	}
	if a.Status != http.StatusOK {
		return nil, fmt.Errorf("query %s: %d %s", expr, a.Status, body.Error)
	}
	samples := make([]Sample, len(body.Data.Result))
	for i, r := range body.Data.Result {
		text, ok := r.Value[1].(string)
		if !ok {
			return nil, fmt.Errorf("query %s: not a vector of floats: %s", expr, a.Body)
		}
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, err
		}
		samples[i] = Sample{r.Metric, f}
	}
	return samples, nil
}

// Query evaluates an instant query now.
func (s *Server) Query(expr string) []Sample {
	s.t.Helper()
	v, err := s.TryQuery(expr, time.Time{})
	require.NoError(s.t, err)
	return v
}

// Value evaluates a query until it has exactly one value, and returns it.
func (s *Server) Value(expr string) float64 {
	s.t.Helper()
	var value float64
	Eventually(s.t, Patience, func() error {
		v, err := s.TryQuery(expr, time.Time{})
		if err == nil && len(v) != 1 {
			err = fmt.Errorf("%s: %d values, want 1: %v", expr, len(v), v)
		}
		if err == nil {
			value = v[0].Value
		}
		return err
	})
	return value
}

// WaitValue waits until a query has one value, which is want.
func (s *Server) WaitValue(expr string, want float64) {
	s.t.Helper()
	Eventually(s.t, Patience, func() error {
		v, err := s.TryQuery(expr, time.Time{})
		if err != nil {
			return err
		}
		if len(v) != 1 || v[0].Value != want {
			return fmt.Errorf("%s: want %v, got %v", expr, want, v)
		}
		return nil
	})
}

// Metric reads one series of the server's own /metrics, written as the
// exposition has it: name or name{label="value"}.
func (s *Server) Metric(series string) (float64, error) {
	a, err := s.TryGet("/metrics")
	if err != nil {
		return 0, err
	}
	return MetricIn(a.Body, series)
}

// WaitMetric waits until one series of the server's own /metrics is want.
func (s *Server) WaitMetric(series string, want float64) {
	s.t.Helper()
	Eventually(s.t, Patience, func() error {
		got, err := s.Metric(series)
		if err == nil && got != want {
			err = fmt.Errorf("%s is %v, want %v", series, got, want)
		}
		return err
	})
}

// ErrNoSeries says that an exposition lacks a series.
var ErrNoSeries = errors.New("no such series")

// MetricIn reads one series of an exposition in text format.
func MetricIn(exposition, series string) (float64, error) {
	for line := range strings.Lines(exposition) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("%s: %w", series, ErrNoSeries)
}

// WithoutLabels is the sample's labels without some.
func (s Sample) WithoutLabels(names ...string) map[string]string {
	m := maps.Clone(s.Labels)
	for _, n := range names {
		delete(m, n)
	}
	return m
}
