package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/clanmon/clanmon/e2e/bench/gen"
	"github.com/clanmon/clanmon/e2e/bench/proc"
)

type serverPeer struct{ name, command string }

// load is what every server is put under.
type load struct {
	targets, series int
	interval        time.Duration
	ingest, queries time.Duration
	rounds          int
}

// figures are the results of one round, in the order of figureNames.
type figures [15]float64

var figureNames = figureText{
	"samples/s ingested", "CPU s per million samples, ingest only", "cores, ingest and queries",
	"ready after first start, ms", "anonymous RSS, idle, MiB", "cgroup memory, idle, MiB",
	"anonymous RSS under load, MiB", "cgroup memory under load, MiB", "peak RSS, MiB",
	"range query p50, ms", "range query p95, ms", "instant query p50, ms", "instant query p95, ms",
	"ready again after SIGTERM, ms", "ready again after SIGKILL, ms",
}

type figureText [15]string

// benchServers measures the servers in turn, round after round, and prints the
// medians.
func benchServers(peers []serverPeer, l load) error {
	results := make([][]figures, len(peers))
	for round := range l.rounds {
		for i, p := range peers {
			log.Printf("round %d of %d: %s", round+1, l.rounds, p.name)
			f, err := measureServer(p, l)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			results[i] = append(results[i], f)
		}
	}
	var names []string
	for _, p := range peers {
		names = append(names, p.name)
	}
	rows := make([]row, len(figureNames))
	for k := range figureNames {
		rows[k].name = figureNames[k]
		for i := range peers {
			var values []float64
			for _, f := range results[i] {
				values = append(values, f[k])
			}
			rows[k].values = append(rows[k].values, proc.Pct(values, .5))
		}
	}
	table(fmt.Sprintf("Servers: %d targets × %d series every %s, medians of %d", l.targets, l.series, l.interval, l.rounds), names, rows)
	return nil
}

func measureServer(p serverPeer, l load) (f figures, err error) {
	dir, err := os.MkdirTemp("", "clanmon-bench-")
	if err != nil {
		return f, err
	}
	defer os.RemoveAll(dir)
	fleet := gen.NewFleet(l.targets, l.series, false)
	targets, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return f, err
	}
	defer targets.Close()
	go func() { _ = http.Serve(targets, fleet) }()
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte(scrapeConfig(l, targets.Addr().String())), 0o600); err != nil {
		return f, err
	}
	address, err := freeAddress()
	if err != nil {
		return f, err
	}
	placeholders := map[string]string{"CONFIG": config, "DATA": filepath.Join(dir, "data"), "ADDR": address}
	base := "http://" + address
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	start := func() (*proc.Process, float64, error) {
		s, err := proc.Start(p.command, placeholders, filepath.Join(dir, "log"))
		if err != nil {
			return nil, 0, err
		}
		took, err := s.WaitReady(ctx, base+"/-/ready")
		if err != nil {
			text, _ := os.ReadFile(filepath.Join(dir, "log"))
			err = fmt.Errorf("%w: %s", err, text)
		}
		return s, took.Seconds() * 1000, err
	}

	s, ready, err := start()
	if err != nil {
		return f, err
	}
	defer func() { _, _ = s.Stop(syscall.SIGKILL, time.Second) }()
	f[3] = ready
	idle, _ := proc.Read(s.Pid)
	f[4], f[5] = proc.MiB(idle.Anon), proc.MiB(s.CgroupMemory())

	rest(15 * time.Second) // the first scrapes are spread over an interval, pools fill
	before, at := reading(s, fleet), time.Now()
	rest(l.ingest)
	after := reading(s, fleet)
	f[0] = float64(after.samples-before.samples) / time.Since(at).Seconds()
	f[1] = (after.cpu - before.cpu) / float64(after.samples-before.samples) * 1e6

	began := time.Now()
	ranges, instants := queryLoad(base, at, l.queries)
	loaded, _ := proc.Read(s.Pid)
	f[2] = (loaded.CPU - after.cpu) / time.Since(began).Seconds()
	f[6], f[7], f[8] = proc.MiB(loaded.Anon), proc.MiB(s.CgroupMemory()), proc.MiB(loaded.HWM)
	f[9], f[10], f[11], f[12] = proc.Pct(ranges, .5), proc.Pct(ranges, .95), proc.Pct(instants, .5), proc.Pct(instants, .95)

	for k, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if _, err := s.Stop(sig, time.Minute); err != nil {
			return f, err
		}
		if s, f[13+k], err = start(); err != nil {
			return f, err
		}
		rest(3 * time.Second)
	}
	return f, nil
}

// rest lets the server work for a while: time is what a benchmark measures by.
func rest(d time.Duration) { <-time.After(d) }

type state struct {
	cpu     float64
	samples int64
}

func reading(s *proc.Process, fleet *gen.Fleet) state {
	st, _ := proc.Read(s.Pid)
	_, samples := fleet.Totals()
	return state{st.CPU, samples}
}

func scrapeConfig(l load, address string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "global: {scrape_interval: %s, scrape_timeout: %s}\nscrape_configs:\n- job_name: node\n  static_configs:\n", l.interval, l.interval)
	for i := range l.targets {
		fmt.Fprintf(&b, "  - {targets: [%q], labels: {__metrics_path__: /t/%d/metrics, instance: \"host%03d:9100\", machine: host%03d}}\n", address, i, i, i)
	}
	return b.String()
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// queries are what dashboards and rules ask.
var queries = []struct {
	expr    string
	instant bool
}{
	{`sum by (mode) (rate(node_cpu_seconds_total[30s]))`, false},
	{`1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[30s]))`, false},
	{`rate(node_network_receive_bytes_total{instance="host003:9100"}[30s])`, false},
	{`topk(5, sum by (instance, device) (rate(node_disk_read_bytes_total[30s])))`, false},
	{`histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket[30s])))`, false},
	{`max by (instance) (1 - node_filesystem_avail_bytes / node_filesystem_size_bytes)`, false},
	{`up == 0`, true},
	{`node_filesystem_avail_bytes / node_filesystem_size_bytes < 0.05`, true},
	{`node_systemd_unit_state{state="failed"} == 1`, true},
	{`count({job="node"})`, true},
}

// queryLoad asks ten queries a second, at most four at a time, and returns how
// long the answers took in ms. Ranges begin at a multiple of their step, as Grafana's
// do: whether results are cached must not depend on when the benchmark runs.
func queryLoad(base string, from time.Time, d time.Duration) (ranges, instants []float64) {
	const step = 5 * time.Second
	from = from.Truncate(step)
	client := &http.Client{Timeout: time.Minute}
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, 4)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i, end := 0, time.Now().Add(d); time.Now().Before(end); i++ {
		<-tick.C
		q := queries[i%len(queries)]
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			now := time.Now()
			path, v := "/api/v1/query_range", url.Values{"query": {q.expr}, "start": {fmt.Sprint(from.Unix())}, "end": {fmt.Sprint(now.Unix())}, "step": {fmt.Sprint(step.Seconds())}}
			if q.instant {
				path, v = "/api/v1/query", url.Values{"query": {q.expr}}
			}
			r, err := client.Get(base + path + "?" + v.Encode())
			if err != nil {
				log.Print(err)
				return
			}
			defer r.Body.Close()
			var answer struct{ Status string }
			if err := json.NewDecoder(r.Body).Decode(&answer); err != nil || answer.Status != "success" {
				log.Printf("%s: %s %v", q.expr, r.Status, err)
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			ms := time.Since(now).Seconds() * 1000
			mu.Lock()
			defer mu.Unlock()
			if q.instant {
				instants = append(instants, ms)
			} else {
				ranges = append(ranges, ms)
			}
		})
	}
	wg.Wait()
	return ranges, instants
}
