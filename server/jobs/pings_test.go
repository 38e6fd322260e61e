package jobs

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
)

const (
	photosToken = "00112233445566778899aabbccddeeff"
	mailToken   = "9c5a6b1e-7f1e-4d41-9d3b-0c1f2a3b4c5d"
)

const twoPings = `
pings:
  photos: {token: ` + photosToken + `, every: 1d, grace: 2h, machine: nas, backup: true}
  mail: {token: ` + mailToken + `}
`

// pingServer has the pings of a file and its state in dir.
func (f *fixture) pingServer(dir, text string) *Jobs {
	f.t.Helper()
	j := f.restart(true)
	o := &j.opts
	file := filepath.Join(f.t.TempDir(), "pings.yml")
	o.Dir, o.Pings, o.Appendable = dir, func() PingSource { return PingSource{File: file} }, f.db
	o.SetAside = func(file, _, _ string, _ error) error { return os.Rename(file, file+".aside") }
	j.pings.opts = *o
	require.NoError(f.t, os.WriteFile(file, []byte(text), 0o600))
	require.NoError(f.t, j.Apply())
	return j
}

func send(j *Jobs, method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	j.PingHandler().ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader("what the job printed")))
	return w
}

func (f *fixture) pingRow(j *Jobs, name string) Job {
	f.t.Helper()
	all, err := j.All(context.Background())
	require.NoError(f.t, err)
	for _, r := range all {
		if r.Name == name {
			return r
		}
	}
	require.Fail(f.t, "no such job", name)
	return Job{}
}

// As https://healthchecks.io/docs/http_api/ has it.
func TestPingsAsHealthchecksHasThem(t *testing.T) {
	f := newFixture(t, true)
	j := f.pingServer(t.TempDir(), twoPings)
	for _, c := range []struct {
		method, path string
		code         int
		result       string
		exitCode     *int
		state        string
	}{
		{"HEAD", "/" + photosToken, 200, "success", ptr(0), StateOK},
		{"POST", "/" + photosToken + "/start", 200, "success", ptr(0), StateRunning},
		{"POST", "/" + photosToken + "/log", 200, "success", ptr(0), StateRunning},
		{"GET", "/" + photosToken + "/3", 200, "exit-code", ptr(3), StateFailed},
		{"GET", "/" + photosToken + "/0", 200, "success", ptr(0), StateOK},
		{"POST", "/" + photosToken + "/fail", 200, "fail", nil, StateFailed},
		{"GET", "/" + photosToken + "/", 200, "success", ptr(0), StateOK},
		{"GET", "/" + photosToken + "/256", 400, "success", ptr(0), StateOK},
		{"GET", "/" + photosToken + "/stop", 400, "success", ptr(0), StateOK},
		{"GET", "/" + photosToken + "?rid=1", 400, "success", ptr(0), StateOK},
		{"DELETE", "/" + photosToken, 405, "success", ptr(0), StateOK},
	} {
		w := send(j, c.method, c.path)
		require.Equal(t, c.code, w.Code, c.path)
		if c.code == 200 && c.method != "HEAD" {
			require.Equal(t, "OK", w.Body.String())
		}
		require.Equal(t, "0", w.Header().Get("Ping-Body-Limit"))
		r := f.pingRow(j, "photos")
		require.Equal(t, c.result, r.LastResult, c.path)
		require.Equal(t, c.exitCode, r.ExitCode, c.path)
		require.Equal(t, c.state, r.State, c.path)
	}
	r := f.pingRow(j, "photos")
	require.Equal(t, "nas", r.Machine)
	require.Equal(t, "photos", r.Backup)
	require.Equal(t, KindPing, r.Kind)
	require.InDelta(t, unix(time.Now())+26*3600, *r.Next, 60)
	require.Equal(t, StateNever, f.pingRow(j, "mail").State, "a token moves only its own job")
	require.Nil(t, f.pingRow(j, "mail").Next)

	text, err := os.ReadFile(filepath.Join(j.opts.Dir, pingState))
	require.NoError(t, err)
	require.NotContains(t, string(text), "what the job printed")
	require.NotContains(t, string(text), photosToken)
}

// Requests overtake one another, and an end that could not be reported is reported later.
func TestPingsOutOfOrder(t *testing.T) {
	f := newFixture(t, true)
	j := f.pingServer(t.TempDir(), twoPings)
	const first, second = "?rid=00000000-0000-0000-0000-000000000001", "?rid=00000000-0000-0000-0000-000000000002"
	ping := func(path string) Job {
		require.Equal(t, 200, send(j, "POST", "/"+photosToken+path).Code)
		return f.pingRow(j, "photos")
	}
	require.Equal(t, StateFailed, ping("/3"+first+"&ago=60&duration=5").State)
	r := ping("/start" + first + "&ago=65")
	require.Equal(t, StateFailed, r.State, "this run has ended")
	require.InDelta(t, unix(time.Now())-65, *r.LastRun, 2)

	require.Equal(t, StateOK, ping("/0"+second+"&ago=10&duration=5").State)
	r = ping("/3" + first + "&ago=60&duration=5")
	require.Equal(t, StateOK, r.State, "a later run is known")
	require.Equal(t, 5.0, *r.Duration)
	require.InDelta(t, unix(time.Now())-15, *r.LastRun, 2)

	require.Equal(t, StateRunning, ping("/start"+first).State, "a client may use an ID again")
	r = ping("/0" + second + "&ago=5&duration=2")
	require.Equal(t, StateRunning, r.State, "another run ended")
	require.InDelta(t, unix(time.Now()), *r.LastRun, 2)
	require.Equal(t, StateOK, ping("/0"+first).State)
}

// What was noted by a clock that was ahead does not hold for years.
func TestAClockThatWasAhead(t *testing.T) {
	f := newFixture(t, true)
	j := f.pingServer(t.TempDir(), twoPings)
	j.pings.take(j.pings.order[1], signal{result: resultSuccess}, time.Now().Add(365*24*time.Hour))
	require.Equal(t, 200, send(j, "POST", "/"+photosToken+"/3").Code)
	require.Equal(t, StateFailed, f.pingRow(j, "photos").State)
	require.Equal(t, 200, send(j, "POST", "/"+photosToken).Code)
	r := f.pingRow(j, "photos")
	require.Equal(t, StateOK, r.State)
	require.InDelta(t, unix(time.Now()), *r.LastSuccess, 2)
}

// A run that began and never ended is noticed, although nobody said how often the job runs.
func TestARunThatDoesNotEnd(t *testing.T) {
	f := newFixture(t, true)
	j := f.pingServer(t.TempDir(), twoPings)
	start := func(ago string) Job {
		require.Equal(t, 200, send(j, "POST", "/"+mailToken+"/start?ago="+ago).Code)
		return f.pingRow(j, "mail")
	}
	require.Equal(t, StateRunning, start("82800").State) // 23 h
	j.pings.states["mail"].Start -= 7200
	r := f.pingRow(j, "mail")
	require.Equal(t, StateLate, r.State)
	require.True(t, r.Overdue)
	require.Equal(t, 200, send(j, "POST", "/"+mailToken).Code)
	r = f.pingRow(j, "mail")
	require.Equal(t, StateOK, r.State)
	require.Nil(t, r.Next)

	// That one took 25 hours.
	start("0")
	j.pings.states["mail"].Start -= 74 * 3600
	require.Equal(t, StateRunning, f.pingRow(j, "mail").State)
	j.pings.states["mail"].Start -= 2 * 3600
	require.Equal(t, StateLate, f.pingRow(j, "mail").State)
}

func TestDurationsOfPings(t *testing.T) {
	f := newFixture(t, true)
	j := f.pingServer(t.TempDir(), twoPings)
	photos := j.pings.order[1]
	require.Equal(t, "photos", photos.name)
	now := time.Now().Add(-40 * time.Hour)
	say := func(after time.Duration, s signal) { now = now.Add(after); j.pings.take(photos, s, now) }
	ok := signal{result: resultSuccess}
	say(0, signal{start: true})
	say(90*time.Second, ok)
	require.InDelta(t, 90, *f.pingRow(j, "photos").Duration, .1)
	say(time.Hour, signal{start: true})
	say(30*time.Hour, ok)
	require.InDelta(t, 90, f.pingRow(j, "photos").Usual.Min, .1)
	require.InDelta(t, 108000, f.pingRow(j, "photos").Usual.Max, .1)
	say(time.Hour, ok)
	require.Nil(t, f.pingRow(j, "photos").Duration, "nobody said when it began")

	// Two runs at a time are told apart by their ids.
	say(time.Hour, signal{start: true, run: "a"})
	say(time.Minute, signal{result: resultSuccess, run: "b"})
	require.Nil(t, f.pingRow(j, "photos").Duration)
	require.Equal(t, StateRunning, f.pingRow(j, "photos").State)
	say(time.Minute, signal{result: resultSuccess, run: "a"})
	require.InDelta(t, 120, *f.pingRow(j, "photos").Duration, .1)
	require.Equal(t, StateOK, f.pingRow(j, "photos").State)
	j.pings.states["photos"].Success -= 3 * 86400
	require.Equal(t, StateLate, f.pingRow(j, "photos").State)
	require.True(t, f.pingRow(j, "photos").Overdue)
}

// What a ping said is on the disk before it is answered: a server that is killed knows it.
func TestPingsSurviveAKill(t *testing.T) {
	f := newFixture(t, true)
	dir := t.TempDir()
	j := f.pingServer(dir, twoPings)
	send(j, "GET", "/"+photosToken+"/start")
	send(j, "GET", "/"+photosToken+"/7")
	before := f.pingRow(j, "photos")
	again := f.pingServer(dir, twoPings)
	after := f.pingRow(again, "photos")
	before.Next, after.Next = nil, nil
	require.Equal(t, before, after)

	// A damaged file costs what it said, not the server.
	require.NoError(t, os.WriteFile(filepath.Join(dir, pingState), []byte(`{"pings": {"photos": nu`), 0o600))
	damaged := f.pingServer(dir, twoPings)
	require.Equal(t, StateNever, f.pingRow(damaged, "photos").State)
	require.FileExists(t, filepath.Join(dir, pingState+".aside"))
	require.Equal(t, 200, send(damaged, "GET", "/"+photosToken).Code)
	require.Equal(t, StateOK, f.pingRow(f.pingServer(dir, twoPings), "photos").State)
}

func TestGuessesAndFloods(t *testing.T) {
	f := newFixture(t, true)
	j := f.pingServer(t.TempDir(), twoPings)
	now := time.Unix(1_800_000_000, 0)
	codes := func(path string, n int) map[int]int {
		found := map[int]int{}
		for range n {
			code, _ := j.ping(httptest.NewRequest("GET", path, nil), now)
			found[code]++
		}
		return found
	}
	for _, bad := range []string{"/", "/" + photosToken[:31], "/" + photosToken + "0", "/" + strings.ToUpper(photosToken)} {
		require.Equal(t, map[int]int{404: 1}, codes(bad, 1), bad)
	}
	require.Equal(t, map[int]int{200: perToken, 429: 90}, codes("/"+photosToken, perToken+90))
	require.Equal(t, map[int]int{200: 1}, codes("/"+mailToken, 1), "another job is not held up")
	require.Equal(t, map[int]int{404: perGuesses - 4, 429: 54}, codes("/guess", perGuesses+50))
	require.Equal(t, map[int]int{200: 1}, codes("/"+mailToken, 1), "nor by guesses")
	now = now.Add(time.Second)
	require.Equal(t, map[int]int{200: 1}, codes("/"+photosToken, 1))

	none := f.restart(true)
	require.NoError(t, none.Apply())
	require.Equal(t, http.StatusNotFound, send(none, "GET", "/"+photosToken).Code)
	require.NoFileExists(t, filepath.Join(none.opts.Dir, pingState))
}

func TestSeriesOfPings(t *testing.T) {
	f := newFixture(t, true)
	j := f.pingServer(t.TempDir(), twoPings)
	stored := func() map[string]float64 {
		j.pings.store(context.Background(), time.Now())
		found := map[string]float64{}
		require.NoError(t, j.latest(context.Background(), time.Now().Add(time.Second), time.Minute, func(_ string, ls labels.Labels, _ int64, v float64) {
			found[ls.String()] = v
		}, "clanmon_ping_.*"))
		return found
	}
	send(j, "GET", "/"+photosToken+"/start")
	send(j, "GET", "/"+photosToken+"/3")
	first := stored()
	require.Contains(t, first, `{__name__="clanmon_ping_due_timestamp_seconds", job="ping", machine="nas", name="photos"}`)
	require.NotContains(t, first, `{__name__="clanmon_ping_due_timestamp_seconds", job="ping", name="mail"}`, "it may come whenever it wants")
	require.EqualValues(t, 3, first[`{__name__="clanmon_ping_last_exit_code", job="ping", machine="nas", name="photos", result="exit-code"}`])
	require.NotContains(t, first, `{__name__="clanmon_ping_last_success_timestamp_seconds", job="ping", machine="nas", name="photos"}`)

	send(j, "GET", "/"+photosToken)
	second := stored()
	require.NotContains(t, second, `{__name__="clanmon_ping_last_exit_code", job="ping", machine="nas", name="photos", result="exit-code"}`, "it ended")
	require.Contains(t, second, `{__name__="clanmon_ping_last_success_timestamp_seconds", job="ping", machine="nas", name="photos"}`)

	require.NoError(t, os.WriteFile(j.opts.Pings().File, []byte("pings: {mail: {token: "+mailToken+"}}"), 0o600))
	require.NoError(t, j.Apply())
	require.Equal(t, map[string]float64{`{__name__="clanmon_ping_running", job="ping", name="mail"}`: 0}, stored())
	require.Equal(t, http.StatusNotFound, send(j, "GET", "/"+photosToken).Code)
}

// A ping that may have come while the server was away is not missed; the next one is.
func TestPingsWhileTheServerIsAway(t *testing.T) {
	daily := &ping{every: 24 * time.Hour, grace: time.Hour}
	const hour = 3600.0
	for name, c := range map[string]struct {
		deaf span
		want float64
	}{
		"it was there":                  {span{}, 25},
		"away before it was due":        {span{2 * hour, 4 * hour}, 25},
		"away when it was due":          {span{23.5 * hour, 24.5 * hour}, 49},
		"away from before until after":  {span{20 * hour, 30 * hour}, 49},
		"away for days":                 {span{20 * hour, 120 * hour}, 145},
		"away once it was late already": {span{26 * hour, 30 * hour}, 25},
		"away before the last success":  {span{-9 * hour, -hour}, 25},
	} {
		p := &pings{deaf: span{c.deaf.From + 1e9, c.deaf.To + 1e9}}
		if c.deaf == (span{}) {
			p.deaf = span{}
		}
		require.InDelta(t, c.want*hour, p.due(daily, &state{Success: 1e9})-1e9, 1, name)
	}
}

func TestPingFiles(t *testing.T) {
	token := photosToken
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "token"), []byte(mailToken+"\n"), 0o600))
	for name, c := range map[string]struct{ text, want string }{
		"fine":               {twoPings, ""},
		"JSON":               {`{"pings": {"a": {"tokenFile": "token", "every": "1d"}}}`, ""},
		"none":               {"pings: {}", ""},
		"no token":           {"pings: {a: {every: 1d}}", "pings.a: token is missing: openssl rand -hex 16 makes one"},
		"both":               {"pings: {a: {token: " + token + ", tokenFile: token}}", "exclude each other"},
		"a short token":      {"pings: {a: {token: hunter2}}", "pings.a: the token must be 22 to 128 letters"},
		"no such file":       {"pings: {a: {tokenFile: nowhere}}", "nowhere: no such file"},
		"the same token":     {"pings: {a: {token: " + token + "}, b: {token: " + token + "}}", "pings.b: has the same token as pings.a"},
		"a name":             {"pings: {'a b': {token: " + token + "}}", "a name must have at most 63 letters"},
		"every":              {"pings: {a: {token: " + token + ", every: 5s}}", "pings.a: every: 5s must be between 1m and 1y"},
		"grace":              {"pings: {a: {token: " + token + ", grace: 2y}}", "pings.a: grace: 2y must be between 1m and 1y"},
		"no duration":        {"pings: {a: {token: " + token + ", every: soon}}", "not a valid duration"},
		"a machine":          {"pings: {a: {token: " + token + ", machine: 'x y'}}", "pings.a: machine: "},
		"an unknown key":     {"pings: {a: {token: " + token + ", often: 1d}}", "field often is unknown"},
		"a token for a list": {"pings: [" + token + "]", "--ping.file"},
		"a token for a map":  {"pings: {a: " + token + "}", "--ping.file"},
		"no space":           {"pings: {a: {token:" + token + "}}", "is missing after its name"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir, "pings.yml")
			require.NoError(t, os.WriteFile(file, []byte(c.text), 0o600))
			err := PingSource{File: file}.Check(false)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, "--ping.file")
			for _, secret := range []string{token, mailToken, "hunter2"} {
				require.NotContains(t, err.Error(), secret[:5])
			}
		})
	}
	require.NoError(t, PingSource{}.Check(false))
	require.ErrorContains(t, PingSource{File: filepath.Join(dir, "none")}.Check(false), "no such file")
}

// Pings may be a section of the settings; where both are there, nobody would know which counts.
func TestPingsInTheSettings(t *testing.T) {
	dir := t.TempDir()
	section := []byte("pings: {photos: {tokenFile: photos.token, every: 1d}, mail: {token: " + mailToken + "}}")
	source := PingSource{Section: section, Where: filepath.Join(dir, "settings.yml")}
	require.NoError(t, source.Check(true), "a build does not have the files of tokens")
	require.ErrorContains(t, source.Check(false), `settings.yml": pings.photos: tokenFile: open `+filepath.Join(dir, "photos.token"))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "photos.token"), []byte(photosToken), 0o600))
	require.NoError(t, source.Check(false))
	source.File = filepath.Join(dir, "pings.yml")
	require.ErrorContains(t, source.Check(true), "exclude each other")
	for text, want := range map[string]string{
		"pings: {photos: {token: short}}":                      "--clan.settings \"s\": pings.photos: the token must be",
		"pings: {photos: {tokenfile: x}}":                      "tokenfile",
		"pings: {a: {tokenFile: x}, b: {tokenFile: x}}":        "same token as pings.a",
		"pings: {a: {tokenFile: x, every: 1s}}":                "every: 1s must be between",
		"pings: {a: {token: " + mailToken + ", tokenFile: x}}": "exclude each other",
	} {
		err := PingSource{Section: []byte(text), Where: "s"}.Check(true)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), mailToken)
	}
}

// A file that is broken when it is read again changes nothing.
func TestABrokenPingFileKeepsThePings(t *testing.T) {
	f := newFixture(t, true)
	j := f.pingServer(t.TempDir(), twoPings)
	require.NoError(t, os.WriteFile(j.opts.Pings().File, []byte("pings: {a: {}}"), 0o600))
	require.Error(t, j.Apply())
	require.Equal(t, 200, send(j, "GET", "/"+photosToken).Code)
}

var _ storage.AppendableV2 = nilAppendable{}

type nilAppendable struct{ storage.AppendableV2 }

func TestNothingIsWrittenWithoutPings(t *testing.T) {
	j := New(Options{Logger: promslog.NewNopLogger(), Appendable: nilAppendable{}, Dir: t.TempDir()})
	require.NoError(t, j.Apply())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, j.Run(ctx))
	entries, err := os.ReadDir(j.opts.Dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}
