package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
	"github.com/clanmon/clanmon/internal/history"
)

// link is a connection to an exporter that can be cut.
type link struct {
	t       testing.TB
	address string
	to      string

	mu    sync.Mutex
	l     net.Listener // nil while it is cut
	conns map[net.Conn]bool
}

func newLink(t testing.TB, to string) *link {
	k := &link{t: t, address: harness.Address(t), to: to, conns: map[net.Conn]bool{}}
	k.plug()
	t.Cleanup(k.cut)
	return k
}

func (k *link) plug() {
	k.t.Helper()
	l, err := net.Listen("tcp", k.address)
	require.NoError(k.t, err)
	k.mu.Lock()
	k.l = l
	k.mu.Unlock()
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", k.to)
			if err != nil {
				in.Close()
				continue
			}
			k.mu.Lock()
			if k.l != l { // cut in the meantime
				in.Close()
				out.Close()
			}
			k.conns[in], k.conns[out] = true, true
			k.mu.Unlock()
			pass := func(a, b net.Conn) {
				_, _ = io.Copy(a, b)
				a.Close()
				b.Close()
			}
			go pass(in, out)
			go pass(out, in)
		}
	}()
}

func (k *link) cut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.l != nil {
		k.l.Close()
	}
	k.l = nil
	for c := range k.conns {
		c.Close()
	}
	clear(k.conns)
}

// A spooled machine is an exporter with a history, a link to it and a server that scrapes it
// every second.
type spooled struct {
	t        testing.TB
	machine  string
	exporter *harness.Exporter
	dir      string // of the exporter's history
	link     *link
	server   *harness.Server
	options  harness.ServerOptions
}

func newSpooled(t testing.TB) *spooled {
	s := newSpool(t, "m1")
	jobs := harness.WriteFile(t, t.TempDir(), "jobs.yml", "scrape_configs:\n"+spoolJob(s))
	s.options = harness.ServerOptions{
		Listen: harness.Address(t), Data: t.TempDir(), Args: []string{"--backfill=on", "--query.lookback-delta=2500ms"},
		Config: fmt.Sprintf("global: {scrape_interval: 1s}\nscrape_config_files: [%q]\n", jobs),
	}
	s.server = harness.StartServer(t, s.options)
	return s
}

// newSpool starts the exporter and the link.
func newSpool(t testing.TB, machine string) *spooled {
	s := &spooled{t: t, machine: machine, dir: t.TempDir()}
	s.exporter = harness.StartExporter(t, "--collectors=cpu,filesystem,meminfo,netdev,uname", "--history=1h", "--history.interval=1s", "--history.path="+s.dir)
	s.link = newLink(t, s.exporter.Node)
	return s
}

// spoolJob is the job that scrapes them.
func spoolJob(spools ...*spooled) string {
	text := "- job_name: node\n  static_configs:\n"
	for _, s := range spools {
		text += fmt.Sprintf("  - {targets: [%q], labels: {machine: %s, device: of-the-target}}\n", s.link.address, s.machine)
	}
	return text + `  metric_relabel_configs:
  - {source_labels: [__name__], regex: "go_gc_.*", action: drop}
  - {source_labels: [exported_device], target_label: dev}
`
}

// again starts the server once more.
func (s *spooled) again() {
	s.t.Helper()
	s.server = harness.StartServer(s.t, s.options)
}

// raw are the stored samples of a selector.
func (s *spooled) raw(selector string) map[string]map[int64]float64 {
	s.t.Helper()
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Values [][2]any
			}
		}
	}
	s.ask("/api/v1/query?query="+url.QueryEscape(selector+"[1h]"), &answer)
	all := map[string]map[int64]float64{}
	for _, r := range answer.Data.Result {
		samples := map[int64]float64{}
		for _, v := range r.Values {
			f, err := strconv.ParseFloat(v[1].(string), 64)
			require.NoError(s.t, err)
			at := int64(math.Round(v[0].(float64) * 1000))
			require.NotContains(s.t, samples, at, "two samples at one time")
			samples[at] = f
		}
		all[fmt.Sprint(r.Metric)] = samples
	}
	return all
}

func (s *spooled) ask(path string, into any) {
	s.t.Helper()
	a, err := s.server.TryGet(path)
	require.NoError(s.t, err)
	require.Equal(s.t, 200, a.Status, a.Body)
	require.NoError(s.t, json.Unmarshal([]byte(a.Body), into))
}

// gaps are the times between two successful scrapes that are further apart than usual.
func (s *spooled) gaps() (gaps [][2]int64, scrapes int) {
	s.t.Helper()
	for _, samples := range s.raw(fmt.Sprintf(`up{job="node",machine=%q}`, s.machine)) {
		last := int64(0)
		for _, at := range slices.Sorted(maps.Keys(samples)) {
			if samples[at] != 1 {
				continue
			}
			if scrapes++; last != 0 && at-last > 1500 {
				gaps = append(gaps, [2]int64{last, at})
			}
			last = at
		}
	}
	return gaps, scrapes
}

// filled waits until there are so many gaps at least, and none is left to be filled.
func (s *spooled) filled(gaps int) {
	s.t.Helper()
	s.filledWithin(2*harness.Patience, gaps)
}

func (s *spooled) filledWithin(limit time.Duration, gaps int) {
	s.t.Helper()
	harness.Eventually(s.t, limit, func() error {
		if found, _ := s.gaps(); len(found) < gaps {
			return fmt.Errorf("%d of %d gaps", len(found), gaps)
		}
		m, err := s.server.TryGet("/metrics")
		if err != nil {
			return err
		}
		for _, want := range []string{"clanmon_backfill_pending_gaps 0\n", `clanmon_backfill_gaps_total{result="refused"} 0` + "\n"} {
			if !strings.Contains(m.Body, want) {
				return fmt.Errorf("/metrics lacks %q", want)
			}
		}
		return s.complete()
	})
}

// complete compares what the exporter kept for the gaps with what the server has there.
func (s *spooled) complete() error {
	gaps, _ := s.gaps()
	stored := s.raw(fmt.Sprintf(`{job="node",machine=%q,__name__!~"up|scrape_.*"}`, s.machine))
	kept := s.kept()
	inGap := func(at int64) bool {
		return slices.ContainsFunc(gaps, func(g [2]int64) bool { return g[0] < at && at < g[1] })
	}
	lost, wrong, more, samples := 0, 0, 0, 0
	for name, want := range kept {
		for at, v := range want {
			if !inGap(at) {
				continue
			}
			samples++
			got, ok := stored[name][at]
			switch {
			case !ok:
				lost++
			case got != v && !(math.IsNaN(got) && math.IsNaN(v)):
				wrong++
			}
		}
	}
	for name, got := range stored {
		for at := range got {
			if _, ok := kept[name][at]; inGap(at) && !ok {
				more++
			}
		}
	}
	if lost+wrong+more > 0 || samples == 0 {
		return fmt.Errorf("of %d samples in %d gaps: %d lost, %d wrong; %d that the exporter did not keep", samples, len(gaps), lost, wrong, more)
	}
	s.t.Logf("%d samples in %d gaps: all there", samples, len(gaps))
	return nil
}

// kept is what the exporter kept, with the labels that a scrape would give.
func (s *spooled) kept() map[string]map[int64]float64 {
	s.t.Helper()
	res, err := http.Get(fmt.Sprintf("http://%s/history?after=0&before=%d&path=/metrics", s.exporter.Node, time.Now().UnixMilli()))
	require.NoError(s.t, err)
	defer res.Body.Close()
	r, err := history.NewReader(res.Body, 1e6, 1e9)
	require.NoError(s.t, err)
	all := map[string]map[int64]float64{}
	var names []string
	for {
		at, values, err := r.Next()
		if history.Ended(err) {
			return all
		}
		require.NoError(s.t, err)
		for len(names) < r.Series() {
			names = append(names, s.name(r.Key(len(names))))
		}
		for _, v := range values {
			name := names[v.Series]
			if name == "" || v.Bits == history.StaleNaN {
				continue
			}
			if all[name] == nil {
				all[name] = map[int64]float64{}
			}
			all[name][at] = math.Float64frombits(v.Bits)
		}
	}
}

// name is what raw calls a series, "" if it is dropped.
func (s *spooled) name(key string) string {
	metric := map[string]string{}
	_, key, err := history.CutString(key)
	require.NoError(s.t, err)
	for key != "" {
		var name, value string
		name, key, err = history.CutString(key)
		require.NoError(s.t, err)
		value, key, err = history.CutString(key)
		require.NoError(s.t, err)
		metric[name] = value
	}
	if strings.HasPrefix(metric["__name__"], "go_gc_") {
		return ""
	}
	for name, value := range map[string]string{"job": "node", "instance": s.link.address, "machine": s.machine, "device": "of-the-target"} {
		if exposed := metric[name]; exposed != "" { // node_uname_info has a label "machine"
			metric["exported_"+name] = exposed
		}
		metric[name] = value
	}
	if d := metric["exported_device"]; d != "" {
		metric["dev"] = d
	}
	return fmt.Sprint(metric)
}

// gathers waits for so many more gathers.
func (s *spooled) gathers(n float64) {
	s.t.Helper()
	count := func() float64 {
		const name = "clanmon_exporter_history_gathers_total "
		for line := range strings.Lines(s.exporter.Scrape(s.exporter.Node)) {
			if v, ok := strings.CutPrefix(line, name); ok {
				f, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
				require.NoError(s.t, err)
				return f
			}
		}
		return 0
	}
	begin := count()
	harness.Eventually(s.t, harness.Patience, func() error {
		if got := count() - begin; got < n {
			return fmt.Errorf("%g of %g gathers", got, n)
		}
		return nil
	})
}

// scrapes waits for so many successful scrapes.
func (s *spooled) scrapes(n int) {
	s.t.Helper()
	harness.Eventually(s.t, harness.Patience, func() error {
		if _, got := s.gaps(); got < n {
			return fmt.Errorf("%d of %d scrapes", got, n)
		}
		return nil
	})
}

// A server that was killed, and one that could not reach an exporter, miss nothing: what the
// exporter kept is in the store, once, as a scrape would have stored it.
func TestGapsAreFilled(t *testing.T) {
	t.Parallel()
	s := newSpooled(t)
	s.scrapes(4)
	begin := time.Now()
	s.server.Kill()
	s.gathers(5)
	s.again()
	s.filled(1)

	s.link.cut()
	s.gathers(5)
	const gauge = `node_memory_MemTotal_bytes{job="node"}`
	cut := time.Now()
	hole := s.steps(gauge, begin, cut)
	require.Less(t, hole, seconds(begin, cut), "the hole is in the query cache")
	s.link.plug()
	s.filled(2)
	require.Greater(t, s.steps(gauge, begin, cut), hole, "the query cache forgot it")
	s.whole(gauge, begin, cut)

	// Restarted once more, it does not ask for what it has.
	stopped := time.Now().UnixMilli()
	s.server.Signal(syscall.SIGTERM)
	require.Zero(t, s.server.Wait())
	s.gathers(4)
	s.again()
	s.filled(3)
	m, err := s.server.TryGet("/metrics")
	require.NoError(t, err)
	asked, err := harness.MetricIn(m.Body, `clanmon_backfill_gaps_total{result="filled"}`)
	require.NoError(t, err)
	all, _ := s.gaps()
	later := slices.DeleteFunc(all, func(g [2]int64) bool { return g[1] < stopped })
	require.Positive(t, asked)
	require.LessOrEqual(t, asked, float64(len(later)))

	// Charts have no hole, also of gauges; "up" keeps its own.
	end := time.Now().Add(-2 * time.Second)
	for _, query := range []string{gauge, `node_cpu_seconds_total{job="node",cpu="0",mode="user"}`} {
		s.whole(query, begin, end)
	}
	require.Less(t, s.steps(`up{job="node"} == 1`, begin, end), seconds(begin, end))
}

// A server whose data directory is an older snapshot has everything in the end: the samples of
// the snapshot as they were, and since then those of the exporter, once each.
func TestGapAfterARestoredBackup(t *testing.T) {
	t.Parallel()
	s := newSpooled(t)
	s.scrapes(4)
	s.server.Kill()
	s.gathers(4)
	s.again()
	s.filled(1)
	const all = `{job="node"}`
	before, backup := s.raw(all), filepath.Join(t.TempDir(), "backup")
	code, out := harness.Run(t, harness.Command{Args: []string{"snapshot", "--storage.tsdb.path=" + s.options.Data, backup}})
	require.Zero(t, code, out)

	_, scrapes := s.gaps()
	s.scrapes(scrapes + 4) // lost with the data directory
	s.server.Kill()
	s.gathers(4)
	s.options.Data = backup
	s.again()
	s.filled(2)
	after := s.raw(all)
	for name, want := range before {
		last := slices.Max(slices.Collect(maps.Keys(want)))
		got := maps.Clone(after[name])
		maps.DeleteFunc(got, func(at int64, _ float64) bool { return at > last })
		require.Equal(t, fmt.Sprint(want), fmt.Sprint(got), name) // NaN is equal to itself
	}
}

// whole compares a chart with the samples: it has a point where there is one. On a machine so busy
// that the exporter gathers too seldom, a failed scrape may end the series until the next gather.
func (s *spooled) whole(query string, from, to time.Time) {
	s.t.Helper()
	n := 0
	for _, stored := range s.raw(query) {
		for step := from.Unix(); step <= to.Unix(); step++ {
			for at := range stored {
				if step*1000-2500 < at && at <= step*1000 {
					n++
					break
				}
			}
		}
	}
	require.InDelta(s.t, n, s.steps(query, from, to), 2, query)
}

// seconds is the number of steps of a chart.
func seconds(from, to time.Time) int { return int(to.Unix()-from.Unix()) + 1 }

// steps is how many points a chart of one series has, with a step of a second.
func (s *spooled) steps(query string, from, to time.Time) int {
	s.t.Helper()
	var answer struct {
		Data struct {
			Result []struct{ Values [][2]any }
		}
	}
	s.ask(fmt.Sprintf("/api/v1/query_range?query=%s&start=%d&end=%d&step=1", url.QueryEscape(query), from.Unix(), to.Unix()), &answer)
	require.Len(s.t, answer.Data.Result, 1, query)
	return len(answer.Data.Result[0].Values)
}
