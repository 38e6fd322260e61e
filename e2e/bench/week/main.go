// Command week writes days of data of a fleet into an empty data directory, with what happens to machines:
// reboots, new generations of NixOS, alerts, disks that are added. It writes blocks, so that nobody
// has to wait for a week to measure what a week costs:
//
//	go run ./e2e/bench/week -machines 1000 -days 7 /tmp/week
//	bin/clanmon server --storage.tsdb.path /tmp/week
//	curl -w '%{time_total}\n' -so /dev/null "http://localhost:9090/api/clanmon/v1/events?from=$(date -d -7days +%s)"
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"math"
	"os"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

const block = 12 * time.Hour

func main() {
	log.SetFlags(0)
	machines := flag.Int("machines", 1000, "how many machines")
	days := flag.Float64("days", 7, "how many days, up to now")
	interval := flag.Duration("interval", 15*time.Second, "from one sample to the next")
	flag.Parse()
	if flag.NArg() != 1 {
		log.Fatal("week: name the data directory to write")
	}
	if err := write(flag.Arg(0), *machines, *days, *interval); err != nil {
		log.Fatal("week: ", err)
	}
}

// series is one of a machine. at is its value, NaN where it has none.
type series struct {
	labels labels.Labels
	at     func(t float64) float64
}

func write(dir string, machines int, days float64, interval time.Duration) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	end := time.Now().Truncate(interval)
	begin := end.Add(-time.Duration(days * 24 * float64(time.Hour))).Truncate(block)
	var all []series
	for n := range machines {
		all = append(all, machine(n, begin, end)...)
	}
	for from := begin; from.Before(end); from = from.Add(block) {
		to := from.Add(block)
		if to.After(end) {
			to = end
		}
		if err := writeBlock(dir, all, from, to, interval); err != nil {
			return err
		}
		log.Printf("%s of %d series", to.Format(time.DateTime), len(all))
	}
	return nil
}

func writeBlock(dir string, all []series, from, to time.Time, interval time.Duration) error {
	w, err := tsdb.NewBlockWriter(slog.New(slog.DiscardHandler), dir, 2*block.Milliseconds())
	if err != nil {
		return err
	}
	defer w.Close()
	const batch = 500
	for i := 0; i < len(all); i += batch {
		app := w.Appender(context.Background())
		for _, s := range all[i:min(i+batch, len(all))] {
			var ref storage.SeriesRef
			there := false
			for t := from; t.Before(to); t = t.Add(interval) {
				v := s.at(float64(t.Unix()))
				if math.IsNaN(v) {
					if !there {
						continue
					}
					v = math.Float64frombits(value.StaleNaN)
				}
				there = !value.IsStaleNaN(v)
				if ref, err = app.Append(ref, s.labels, t.UnixMilli(), v); err != nil {
					return err
				}
			}
		}
		if err := app.Commit(); err != nil {
			return err
		}
	}
	_, err = w.Flush(context.Background())
	return err
}

// machine is what happens to the nth machine between two times. A fifth of all reboot together.
func machine(n int, begin, end time.Time) []series {
	name := fmt.Sprintf("m%04d", n)
	first, length := float64(begin.Unix()), end.Sub(begin).Seconds()
	part := func(k int) float64 { return first + length*float64((n*7919+k*104729)%9973)/9973 } // somewhere in it
	rebooted, deployed := part(1), part(2)
	if n%5 == 0 {
		rebooted, deployed = first+length*0.6+float64(n%300), first+length*0.4+float64(n%300)
	}
	of := func(job, metric string, more ...string) labels.Labels {
		return labels.FromStrings(append([]string{"__name__", metric, "job", job, "machine", name, "instance", name + ":9100"}, more...)...)
	}
	step := func(at, old, now float64) func(float64) float64 {
		return func(t float64) float64 {
			if t < at {
				return old
			}
			return now
		}
	}
	during := func(from, to, v float64) func(float64) float64 {
		return func(t float64) float64 {
			if t < from || t >= to {
				return math.NaN()
			}
			return v
		}
	}
	all := []series{
		{of("node", "up"), func(float64) float64 { return 1 }},
		{of("node", "node_boot_time_seconds"), step(rebooted, first-1e6, rebooted-20)},
		{of("node", "node_load1"), func(t float64) float64 { return 1 + math.Sin(t/9000+float64(n)) }},
		{of("node", "clanmon_nixos_generation", "which", "current"), step(deployed, 41, 42)},
		{of("node", "clanmon_nixos_system_activated_timestamp_seconds"), step(deployed, first-1e6, deployed)},
		{of("node", "clanmon_nixos_system_info", "revision", "1111111", "kernel", "6.12.30"), during(0, deployed, 1)},
		{of("node", "clanmon_nixos_system_info", "revision", "2222222", "kernel", "6.12.31"), during(deployed, math.MaxFloat64, 1)},
		{of("node", "node_uname_info", "release", "6.12.30"), during(0, rebooted, 1)},
		{of("node", "node_uname_info", "release", "6.12.31"), during(rebooted, math.MaxFloat64, 1)},
		{of("node", "clanmon_build_info", "version", "1.0"), func(float64) float64 { return 1 }},
		{of("rules", "machine:first_seen:timestamp_seconds"), func(float64) float64 { return first - 1e6 }},
	}
	// What totals and uptime are made of.
	all = append(all,
		series{of("systemd", "up"), func(t float64) float64 {
			if t >= rebooted-120 && t < rebooted {
				return 0
			}
			return 1
		}},
		series{of("clanmon", "clanmon_machine_state", "state", "ok"), func(float64) float64 { return 1 }},
	)
	recent := float64(end.Add(-30 * time.Hour).Unix()) // these are costly to write
	for k, name := range []string{"machine:cpu_used:ratio", "machine:memory_used:ratio", "machine:network_receive_bytes:rate5m", "machine:network_transmit_bytes:rate5m"} {
		all = append(all, series{of("rules", name), func(t float64) float64 {
			if t < recent {
				return math.NaN()
			}
			return 0.5 + math.Sin(t/3000+float64(n*k))/3 + math.Mod(t*float64(7919+n), 997)/9970
		}})
	}
	for _, point := range []string{"/", "/boot", "/home"} {
		all = append(all, series{of("node", "node_filesystem_device_error", "mountpoint", point, "device", "/dev/sda1", "fstype", "ext4"), func(float64) float64 { return 0 }})
	}
	if n%10 == 3 {
		all = append(all, series{of("node", "node_filesystem_device_error", "mountpoint", "/srv", "device", "/dev/sdb1", "fstype", "ext4"), during(part(3), math.MaxFloat64, 0)})
	}
	if n%4 == 1 {
		all = append(all, series{of("node", "ALERTS", "alertname", "DiskFull", "alertstate", "firing", "severity", "warning", "mountpoint", "/"), during(part(4), part(4)+3600, 1)})
	}
	return all
}
