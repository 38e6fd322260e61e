package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/clanmon/clanmon/e2e/bench/proc"
)

// panels are those of a dashboard over all machines.
var panels = []string{
	`100 * (1 - avg(rate(node_cpu_seconds_total{mode="idle"}[5m])))`,
	`sum by (mode) (rate(node_cpu_seconds_total[5m]))`,
	`topk(5, sum by (instance) (rate(node_cpu_seconds_total{mode!="idle"}[5m])))`,
	`sum(node_memory_MemTotal_bytes) - sum(node_memory_MemAvailable_bytes)`,
	`topk(5, avg by (instance) (node_load1))`,
	`sum by (device) (rate(node_network_receive_bytes_total[5m]))`,
	`sum by (device) (rate(node_network_transmit_bytes_total[5m]))`,
	`sum(rate(node_disk_read_bytes_total[5m]))`,
	`sum(rate(node_disk_written_bytes_total[5m]))`,
	`max by (mountpoint) (1 - node_filesystem_avail_bytes / node_filesystem_size_bytes)`,
	`histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))`,
	`sum(rate(node_context_switches_total[5m]))`,
	`count(up == 1)`,
	`avg_over_time(node_load1{instance="host003:9100"}[5m])`,
}

const (
	machines     = 100
	scrapePeriod = 15 * time.Second
	history      = 7 * time.Hour
	range6h      = 6 * time.Hour
	refreshes    = 10
)

// benchDashboard measures what a dashboard costs two servers that have the same data:
// when it is opened, and each time that it is refreshed.
func benchDashboard(peers []serverPeer, loads int) error {
	dir, err := os.MkdirTemp("", "clanmon-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	log.Printf("dashboard: writing %s of %d machines", history, machines)
	data := filepath.Join(dir, "data")
	if err := writeHistory(data); err != nil {
		return err
	}
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte("global: {scrape_interval: 15s}\n"), 0o600); err != nil {
		return err
	}
	var (
		names   []string
		servers []*proc.Process
		bases   []string
	)
	for i, p := range peers {
		address, err := freeAddress()
		if err != nil {
			return err
		}
		own := filepath.Join(dir, fmt.Sprint(i))
		if err := os.CopyFS(own, os.DirFS(data)); err != nil {
			return err
		}
		s, err := proc.Start(p.command, map[string]string{"CONFIG": config, "DATA": own, "ADDR": address}, filepath.Join(dir, p.name+".log"))
		if err != nil {
			return err
		}
		defer func() { _, _ = s.Stop(syscall.SIGKILL, time.Second) }()
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if _, err := s.WaitReady(ctx, "http://"+address+"/-/ready"); err != nil {
			return err
		}
		names, servers, bases = append(names, p.name), append(servers, s), append(bases, "http://"+address)
	}
	rest(5 * time.Second)

	rows := []row{{name: "dashboard opened, CPU s"}, {name: "dashboard opened, ms"}, {name: "dashboard refreshed, CPU s"}, {name: "dashboard refreshed, ms"}}
	opened := make([][2][]float64, len(peers))
	for n := range loads { // another lookback is another query for a cache, and the same work
		for i := range peers {
			cpu, ms, err := view(servers[i], bases[i], fmt.Sprintf("%dms", 300_000+n))
			if err != nil {
				return err
			}
			opened[i][0], opened[i][1] = append(opened[i][0], cpu), append(opened[i][1], ms)
		}
	}
	for i := range peers {
		rows[0].values = append(rows[0].values, proc.Pct(opened[i][0], .5))
		rows[1].values = append(rows[1].values, proc.Pct(opened[i][1], .5))
	}
	totals := make([][2]float64, len(peers))
	for n := range refreshes + 1 {
		for i := range peers {
			cpu, ms, err := view(servers[i], bases[i], "")
			if err != nil {
				return err
			}
			if n > 0 { // the first one opens it
				totals[i][0] += cpu / refreshes
				totals[i][1] += ms / refreshes
			}
		}
		rest(time.Until(time.Now().Truncate(scrapePeriod).Add(scrapePeriod)))
	}
	for i := range peers {
		rows[2].values = append(rows[2].values, totals[i][0])
		rows[3].values = append(rows[3].values, totals[i][1])
	}
	table(fmt.Sprintf("Dashboard: %d panels over %s, every %s, %d machines", len(panels), range6h, scrapePeriod, machines), names, rows)
	return nil
}

// view asks for all panels, as a browser does, and returns the CPU seconds and the
// milliseconds that it took.
func view(s *proc.Process, base, lookback string) (cpu, ms float64, err error) {
	before, err := proc.Read(s.Pid)
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	end := began.Truncate(scrapePeriod)
	for _, p := range panels {
		v := url.Values{
			"query": {p}, "start": {fmt.Sprint(end.Add(-range6h).Unix())}, "end": {fmt.Sprint(end.Unix())},
			"step": {fmt.Sprint(scrapePeriod.Seconds())},
		}
		if lookback != "" {
			v.Set("lookback_delta", lookback)
		}
		r, err := http.Get(base + "/api/v1/query_range?" + v.Encode())
		if err != nil {
			return 0, 0, err
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || r.StatusCode != http.StatusOK || len(body) < 1000 {
			return 0, 0, errors.Join(err, fmt.Errorf("%s: %s: %.200s", p, r.Status, body))
		}
	}
	ms = time.Since(began).Seconds() * 1000
	after, err := proc.Read(s.Pid)
	return after.CPU - before.CPU, ms, err
}

// writeHistory writes a data directory with samples until now: blocks, and the newest
// hours in the WAL.
func writeHistory(dir string) error {
	o := tsdb.DefaultOptions()
	db, err := tsdb.Open(dir, nil, nil, o, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	type series struct {
		ls    labels.Labels
		ref   storage.SeriesRef
		value float64
		rate  float64 // 0 for a gauge
	}
	var all []series
	add := func(rate float64, name, instance string, more ...string) {
		all = append(all, series{ls: labels.FromStrings(append([]string{"__name__", name, "job", "node", "instance", instance}, more...)...), value: 1, rate: rate})
	}
	for m := range machines {
		i := fmt.Sprintf("host%03d:9100", m)
		add(0, "up", i)
		add(0, "node_load1", i)
		add(0, "node_memory_MemTotal_bytes", i)
		add(0, "node_memory_MemAvailable_bytes", i)
		add(900, "node_context_switches_total", i)
		for cpu := range 2 {
			for _, mode := range []string{"idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"} {
				add(.1, "node_cpu_seconds_total", i, "cpu", fmt.Sprint(cpu), "mode", mode)
			}
		}
		for _, device := range []string{"eth0", "eth1", "tailscale0"} {
			add(1e5, "node_network_receive_bytes_total", i, "device", device)
			add(1e4, "node_network_transmit_bytes_total", i, "device", device)
		}
		for _, device := range []string{"sda", "sdb"} {
			add(1e6, "node_disk_read_bytes_total", i, "device", device)
			add(1e6, "node_disk_written_bytes_total", i, "device", device)
		}
		for _, mount := range []string{"/", "/home"} {
			add(0, "node_filesystem_avail_bytes", i, "mountpoint", mount)
			add(0, "node_filesystem_size_bytes", i, "mountpoint", mount)
		}
		for n, le := range []string{"0.01", "0.1", "1", "10", "+Inf"} {
			add(float64(2+2*n), "http_request_duration_seconds_bucket", i, "le", le)
		}
	}
	rng := rand.New(rand.NewPCG(1, 1))
	now := time.Now()
	for at := now.Add(-history); at.Before(now); at = at.Add(scrapePeriod) {
		app := db.Appender(context.Background())
		for i := range all {
			s := &all[i]
			switch {
			case s.ls.Has("le"): // each bucket has what the smaller ones have
				s.value += s.rate * 15
			case s.rate > 0:
				s.value += s.rate * 15 * rng.Float64()
			case s.ls.Get("__name__") != "up":
				s.value = 1e9 * (1 + rng.Float64())
			}
			if s.ref, err = app.Append(s.ref, s.ls, at.UnixMilli(), s.value); err != nil {
				return err
			}
		}
		if err := app.Commit(); err != nil {
			return err
		}
	}
	return db.Compact(context.Background())
}
