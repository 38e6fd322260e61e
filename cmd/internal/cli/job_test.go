package cli

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// pinged is a server that notes what it is told.
type pinged struct {
	*httptest.Server
	mu    sync.Mutex
	paths []string
	query []string
	codes []int // to answer, 200 afterwards
}

func newPinged(t *testing.T, codes ...int) *pinged {
	p := &pinged{codes: codes}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.paths = append(p.paths, r.Method+" "+r.URL.Path)
		p.query = append(p.query, r.URL.RawQuery)
		if len(p.codes) > 0 {
			w.WriteHeader(p.codes[0])
			p.codes = p.codes[1:]
		}
	}))
	t.Cleanup(p.Close)
	return p
}

// end is what was said of the end. The start may arrive after it.
func (p *pinged) end() (path, query string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, path := range p.paths {
		if !strings.HasSuffix(path, "/start") {
			return path, p.query[i]
		}
	}
	return "", ""
}

const jobToken = "00112233445566778899aabbccddeeff"

// runJob runs "clanmon job ARGS" and returns its exit code and what it printed.
func runJob(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	e := Env{Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr}
	err := Run(NewJobCommand(e, "clanmon job"), args)
	return ExitCode("clanmon", err, e), stdout.String(), stderr.String()
}

func TestJobReportsHowItEnded(t *testing.T) {
	t.Setenv("CLANMON_PING_TOKEN", jobToken)
	for name, c := range map[string]struct {
		command string
		code    int
	}{
		"well":        {"echo printed", 0},
		"with a code": {"echo printed; exit 3", 3},
		"by a signal": {"echo printed; kill -9 $$", 137},
	} {
		t.Run(name, func(t *testing.T) {
			s := newPinged(t)
			code, out, errs := runJob(t, "--server", s.URL, "photos", "--", "sh", "-c", c.command)
			require.Equal(t, c.code, code)
			require.Equal(t, "printed\n", out)
			require.Empty(t, errs)
			path, query := s.end()
			require.Equal(t, "POST /ping/"+jobToken+"/"+map[int]string{0: "0", 3: "3", 137: "137"}[c.code], path)
			require.Regexp(t, `ago=0\.\d+&duration=\d+\.\d+&rid=[0-9a-f-]{36}$`, query)
		})
	}
}

func TestJobStartsBeforeItEnds(t *testing.T) {
	t.Setenv("CLANMON_PING_TOKEN", jobToken)
	s := newPinged(t)
	seen := filepath.Join(t.TempDir(), "seen")
	// It ends once the start has arrived.
	go func() {
		for {
			s.mu.Lock()
			n := len(s.paths)
			s.mu.Unlock()
			if n > 0 {
				_ = os.WriteFile(seen, nil, 0o600)
				return
			}
		}
	}()
	code, _, _ := runJob(t, "--server", s.URL, "photos", "--", "sh", "-c", "while [ ! -e "+seen+" ]; do sleep .01; done")
	require.Zero(t, code)
	require.Equal(t, []string{"POST /ping/" + jobToken + "/start", "POST /ping/" + jobToken + "/0"}, s.paths)
	of := func(i int) string {
		q, err := url.ParseQuery(s.query[i])
		require.NoError(t, err)
		return q.Get("rid")
	}
	require.Len(t, of(0), 36)
	require.Equal(t, of(0), of(1), "both say which run they are of")
}

// The command runs and its exit code is passed on, whatever is wrong with the report.
func TestJobRunsWithoutAServer(t *testing.T) {
	s := newPinged(t)
	s.Close()
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte(jobToken+"\n"), 0o600))
	refuses := newPinged(t, 404, 404)
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"it is away":            {[]string{"--server", s.URL, "--token-file", file}, `the end of job "photos" is not reported: ` + s.URL},
		"it knows no such job":  {[]string{"--server", refuses.URL, "--token-file", file}, "knows no job with this token"},
		"no token":              {[]string{"--token-file", file + ".none"}, `job "photos" is not reported: read its token`},
		"no URL":                {[]string{"--server", "hub:9090", "--token-file", file}, "must be a URL such as http://hub:9090"},
		"a client file is gone": {[]string{"--http.config.file", "nowhere", "--token-file", file}, `--http.config.file "nowhere"`},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := runJob(t, append(append([]string{"--retry", "10ms"}, c.args...), "photos", "--", "sh", "-c", "echo printed; exit 4")...)
			require.Equal(t, 4, code)
			require.Equal(t, "printed\n", out)
			require.Contains(t, errs, c.says)
			require.NotContains(t, errs, jobToken)
		})
	}
}

func TestJobRetriesItsEnd(t *testing.T) {
	t.Setenv("CLANMON_PING_TOKEN", jobToken)
	s := newPinged(t)
	c := NewJobCommand(Env{Stderr: &bytes.Buffer{}}, "clanmon job")
	require.NoError(t, c.Parse([]string{"--server", s.URL, "photos", "--", "true"}))
	p, err := c.pinger()
	require.NoError(t, err)
	s.codes = []int{503}
	require.NoError(t, p.send(context.Background(), "0", func() url.Values { return nil }))
	require.Len(t, s.paths, 2)
}

func TestJobWithoutACommand(t *testing.T) {
	t.Setenv("CLANMON_PING_TOKEN", jobToken)
	for _, args := range [][]string{{"photos"}, {"photos", "--"}, {"photos", "true"}, {"--", "true"}} {
		code, _, _ := runJob(t, args...)
		require.Equal(t, 2, code, args)
	}
	for command, want := range map[string]int{"/nowhere/at-all": 127, t.TempDir(): 126} {
		s := newPinged(t)
		code, _, errs := runJob(t, "--server", s.URL, "photos", "--", command)
		require.Equal(t, want, code)
		require.Contains(t, errs, command)
		path, _ := s.end()
		require.Equal(t, map[int]string{126: "POST /ping/" + jobToken + "/126", 127: "POST /ping/" + jobToken + "/127"}[want], path)
	}
}
