package ruler

import (
	"context"
	"fmt"
	"math"
	"net/url"
	"os"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/notifier"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/stretchr/testify/require"
)

// sim is a fleet in simulated time: series that are written every scrape
// interval, and the shipped rules evaluated over them when they are due.
type sim struct {
	t      testing.TB
	db     *tsdb.DB
	engine *promql.Engine
	ruler  *Ruler
	groups []*rules.Group
	series []*simSeries
	begin  time.Time
	now    time.Duration
	due    map[*rules.Group]time.Duration
	cpu    map[string]time.Duration // by group
	rules  map[string]time.Duration
	fired  map[string]string // alert → severity, of all that ever fired
	said   map[string]string // alert → summary
	stored time.Duration     // when a sample was last written
	own    map[string]bool   // machines that the server scrapes
	stock  bool              // machines have the stock systemd_exporter, which has every state of each unit
}

// simSeries is base at the beginning and rises by rate a second.
type simSeries struct {
	labels     labels.Labels
	ref        storage.SeriesRef
	base, rate float64
	value      func(at time.Duration) float64 // in place of these; NaN is no sample
}

const simStep = 15 * time.Second

func newSim(t testing.TB, o ShippedOptions) *sim {
	t.Helper()
	dbOptions := tsdb.DefaultOptions()
	dbOptions.MinBlockDuration = (100 * time.Hour).Milliseconds()
	dbOptions.MaxBlockDuration = dbOptions.MinBlockDuration
	db, err := tsdb.Open(t.TempDir(), promslog.NewNopLogger(), nil, dbOptions, nil)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	s := &sim{
		t: t, db: db, begin: time.Unix(1_700_000_000, 0),
		own: make(map[string]bool), said: make(map[string]string), due: make(map[*rules.Group]time.Duration), cpu: make(map[string]time.Duration), rules: make(map[string]time.Duration), fired: make(map[string]string),
	}
	engine := promql.NewEngine(promql.EngineOpts{
		Logger: promslog.NewNopLogger(), MaxSamples: 5e7, Timeout: time.Minute, LookbackDelta: 5 * time.Minute,
		EnableNegativeOffset: true, EnableAtModifier: true, NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
	})
	s.engine = engine
	p := parser.NewParser(parser.Options{})
	s.ruler = New(rules.ManagerOptions{
		ExternalURL: &url.URL{}, Logger: promslog.NewNopLogger(), Parser: p, NameValidationScheme: model.UTF8Validation,
		AppendableV2: db, Queryable: db, QueryFunc: rules.EngineQueryFunc(engine, db), OutageTolerance: time.Hour,
		ForGracePeriod: 10 * time.Minute, ResendDelay: time.Minute,
	}, shipped(t, o), s, Observed{
		Stored:   func() time.Time { return s.begin.Add(s.stored) },
		Machines: func() map[string]bool { return s.own },
	})
	s.ruler.ruled.Store(&inForce{on: true})
	for _, f := range s.ruler.shipped.files {
		s.ruler.loader.parsed = map[string]parsed{f: {groups: s.ruler.shipped.byID[f]}}
		groups, errs := s.ruler.manager.LoadGroups(time.Minute, labels.EmptyLabels(), "", nil, false, f)
		require.Empty(t, errs)
		for _, g := range groups {
			s.groups = append(s.groups, g)
		}
	}
	slices.SortFunc(s.groups, func(a, b *rules.Group) int { return strings.Compare(a.Name(), b.Name()) })
	return s
}

// Send implements rules.Sender.
func (s *sim) Send(alerts ...*notifier.Alert) {
	for _, a := range alerts {
		require.NotContains(s.t, a.Annotations.String(), "error expanding", a.Name())
		require.Equal(s.t, "/runbooks/"+a.Name(), a.Annotations.Get("runbook_url"))
		s.said[a.Name()] = a.Annotations.Get("summary")
		s.fired[a.Name()+" "+a.Labels.Get("machine")] = a.Labels.Get("severity")
	}
}

func (s *sim) add(base, rate float64, ls ...string) {
	s.series = append(s.series, &simSeries{labels: labels.FromStrings(ls...), base: base, rate: rate})
}

// set replaces the values of all series whose labels have these.
func (s *sim) set(value func(at time.Duration) float64, ls ...string) {
	s.t.Helper()
	found := false
	for _, x := range s.series {
		ok := true
		for i := 0; i < len(ls); i += 2 {
			ok = ok && x.labels.Get(ls[i]) == ls[i+1]
		}
		if ok {
			x.value, found = value, true
		}
	}
	require.True(s.t, found, "no series %v", ls)
}

// scrape writes all series that which wants.
func (s *sim) scrape(which func(*simSeries) bool) {
	app := s.db.Appender(context.Background())
	at := s.begin.Add(s.now).UnixMilli()
	for _, x := range s.series {
		if which != nil && !which(x) {
			continue
		}
		v := x.base + x.rate*s.now.Seconds()
		if x.value != nil {
			if v = x.value(s.now); math.IsNaN(v) && !value.IsStaleNaN(v) {
				continue
			}
		}
		ref, err := app.Append(x.ref, x.labels, at, v)
		require.NoError(s.t, err)
		x.ref, s.stored = ref, s.now
	}
	require.NoError(s.t, app.Commit())
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// run lets time pass.
func (s *sim) run(d time.Duration) {
	for end := s.now + d; s.now < end; s.now += simStep {
		s.scrape(nil)
		s.evaluate()
	}
}

func (s *sim) evaluate() {
	for _, g := range s.groups {
		if s.now < s.due[g] {
			continue
		}
		s.due[g] = s.now + g.Interval()
		before := cpuTime()
		pprof.Do(context.Background(), pprof.Labels("group", g.Name()), func(ctx context.Context) {
			g.Eval(ctx, s.begin.Add(s.now))
		})
		s.cpu[g.Name()] += cpuTime() - before
		for _, r := range g.Rules() {
			require.NoError(s.t, r.LastError(), r.Name())
			s.rules[r.Name()] += r.GetEvaluationDuration()
		}
	}
}

// machine adds the series of an ordinary machine that is well.
func (s *sim) machine(name, availability string, others int) {
	s.own[name] = true
	for _, job := range []string{"node", "systemd"} {
		instance := name + map[string]string{"node": ":9100", "systemd": ":9558"}[job]
		add := func(base, rate float64, metric string, ls ...string) {
			s.add(base, rate, append([]string{"__name__", metric, "machine", name, "availability", availability, "job", job, "instance", instance}, ls...)...)
		}
		add(1, 0, "up")
		add(0.02, 0, "scrape_duration_seconds")
		if job == "systemd" {
			simUnits(add, s.stock)
			continue
		}
		now := float64(s.begin.Unix())
		add(now, 1, "node_time_seconds")
		add(now-1e6, 0, "node_boot_time_seconds")
		add(1, 0, "node_timex_sync_status")
		add(0.01, 0, "node_timex_maxerror_seconds")
		for cpu := range 8 {
			for mode, rate := range map[string]float64{"idle": .8, "user": .1, "system": .05, "iowait": .04, "steal": .01, "nice": 0, "irq": 0, "softirq": 0} {
				add(1e6, rate, "node_cpu_seconds_total", "cpu", strconv.Itoa(cpu), "mode", mode)
			}
		}
		for i, c := range append([]string{"cpu", "diskstats", "filesystem", "loadavg", "meminfo", "netdev", "stat", "textfile", "time", "uname", "vmstat"}, strings.Split(strings.Repeat("other ", 34), " ")[:34]...) {
			works := 1.
			if i > 34 { // a quarter is for hardware that is missing
				works = 0
			}
			if c == "other" {
				c += strconv.Itoa(i)
			}
			add(works, 0, "node_scrape_collector_success", "collector", c)
		}
		add(0, 0, "node_textfile_scrape_error")
		add(16e9, 0, "node_memory_MemTotal_bytes")
		add(8e9, 0, "node_memory_MemAvailable_bytes")
		for _, m := range []string{"memory_stalled", "io_stalled", "cpu_waiting"} {
			add(100, 0.01, "node_pressure_"+m+"_seconds_total")
		}
		add(3, 0, "node_vmstat_oom_kill")
		add(1, 0, "node_procs_blocked")
		add(2000, 0, "node_filefd_allocated")
		add(9e18, 0, "node_filefd_maximum")
		add(200, 0, "node_nf_conntrack_entries")
		add(262144, 0, "node_nf_conntrack_entries_limit")
		for i, mount := range []string{"/", "/nix/store", "/boot", "/home", "/var", "/run", "/dev/shm", "/tmp", "/srv", "/run/wrappers"} {
			fs, device, readonly := "ext4", "/dev/sda1", 0.
			switch {
			case mount == "/boot":
				fs, device = "vfat", "/dev/sda2"
			case i > 4:
				fs, device = "tmpfs", "tmpfs"
			case mount == "/nix/store":
				readonly = 1
			}
			ls := []string{"device", device, "mountpoint", mount, "fstype", fs, "device_error", ""}
			add(60e9, -100, "node_filesystem_avail_bytes", ls...) // it fills up in a week
			add(100e9, 0, "node_filesystem_size_bytes", ls...)
			add(readonly, 0, "node_filesystem_readonly", ls...)
			add(0, 0, "node_filesystem_device_error", ls...)
			add(5e6, 0, "node_filesystem_files_free", ls...)
			add(6e6, 0, "node_filesystem_files", ls...)
		}
		for _, d := range []string{"lo", "eth0", "eth1", "wlan0", "tailscale0", "veth1"} {
			for _, way := range []string{"receive", "transmit"} {
				add(1e9, 1e4, "node_network_"+way+"_bytes_total", "device", d)
				add(1e6, 100, "node_network_"+way+"_packets_total", "device", d)
				add(5, 0.01, "node_network_"+way+"_errs_total", "device", d)
			}
		}
		for i := range 6 {
			sensor := "temp" + strconv.Itoa(i)
			add(50, 0, "node_hwmon_temp_celsius", "chip", "cpu", "sensor", sensor)
			add([]float64{100, 0, 65261, 95, 100, 100}[i], 0, "node_hwmon_temp_crit_celsius", "chip", "cpu", "sensor", sensor)
		}
		add(0, 0, "node_edac_uncorrectable_errors_total", "controller", "0")
		add(1, 0, "node_kernel_hung_tasks_total")
		add(2, 0, "node_md_disks_required", "device", "md0")
		for state, n := range map[string]float64{"active": 2, "failed": 0, "spare": 0, "sync": 0} {
			add(n, 0, "node_md_disks", "device", "md0", "state", state)
		}
		for _, state := range []string{"online", "degraded", "faulted", "offline", "removed", "unavail", "suspended"} {
			v := 0.
			if state == "online" {
				v = 1
			}
			add(v, 0, "node_zfs_zpool_state", "zpool", "rpool", "state", state)
		}
		for _, kind := range []string{"corruption", "flush", "generation", "read", "write"} {
			add(2, 0, "node_btrfs_device_errors_total", "device", "sdb", "type", kind, "uuid", "u")
		}
		for i := range others {
			add(1, 0, "node_something_else_"+strconv.Itoa(i%200), "n", strconv.Itoa(i/200))
		}
	}
}

// simUnits are as many units of each type as an ordinary machine has.
func simUnits(add func(base, rate float64, metric string, ls ...string), stock bool) {
	for kind, n := range map[string]int{"service": 80, "socket": 20, "timer": 12, "mount": 20, "path": 5, "scope": 3, "device": 110, "target": 25, "slice": 15} {
		for i := range n {
			name := fmt.Sprintf("unit-%d.%s", i, kind)
			for _, state := range []string{"active", "activating", "deactivating", "inactive", "failed"} {
				v := 0.
				if state == "active" {
					v = 1
				} else if !stock {
					continue
				}
				add(v, 0, "systemd_unit_state", "name", name, "type", kind, "state", state)
			}
			add(1, 0, "systemd_unit_info", "name", name, "type", kind, "mount_type", "", "service_type", map[bool]string{true: "simple"}[kind == "service"])
			if kind == "service" {
				add(2, 0, "systemd_service_restart_total", "name", name)
				add(5, 0, "systemd_unit_tasks_current", "name", name)
				add(4915, 0, "systemd_unit_tasks_max", "name", name, "type", kind)
			}
		}
	}
}

// server adds the series of the monitoring server itself.
func (s *sim) server(machine string) {
	add := func(base, rate float64, metric string, ls ...string) {
		s.add(base, rate, append([]string{"__name__", metric, "machine", machine, "availability", "always", "job", "clanmon", "instance", machine + ":9090"}, ls...)...)
	}
	add(1, 0, "up")
	add(1, 0, "prometheus_config_last_reload_successful")
	add(1, 0, "alertmanager_config_last_reload_successful")
	add(2, 0, "prometheus_sd_refresh_failures_total", "mechanism", "dns", "config", "x")
	add(2, 0, "prometheus_rule_evaluation_failures_total", "rule_group", "x")
	add(2, 0, "alertmanager_notifications_failed_total", "integration", "ntfy", "receiver_name", "r", "reason", "other")
	add(2, 0, "prometheus_notifications_dropped_total")
	add(0, 0, "alertmanager_cluster_failed_peers")
	add(2, 0, "prometheus_tsdb_compactions_failed_total")
	add(0, 0, "prometheus_tsdb_wal_corruptions_total")
	add(4e6, 0, "prometheus_tsdb_head_series")
}

// On a healthy fleet nothing fires. The laptop comes and goes, is full, reads
// only, broken, hot and restarted, and nobody's sleep ends.
func TestHealthyFleetIsQuietAndTheLaptopNeverPages(t *testing.T) {
	s := newSim(t, ShippedOptions{})
	s.stock = true
	for i := range 3 {
		s.machine(fmt.Sprint("m", i), "always", 0)
	}
	s.server("m0")
	s.machine("laptop", "intermittent", 0)
	from := 30 * time.Minute
	away := func(at time.Duration) bool { return at > from && at%(20*time.Minute) < 6*time.Minute }
	s.set(func(at time.Duration) float64 {
		if away(at) {
			return 0
		}
		return 1
	}, "__name__", "up", "machine", "laptop")
	for metric, bad := range map[string]float64{
		"node_filesystem_avail_bytes": 1, "node_filesystem_readonly": 1, "node_filesystem_device_error": 1,
		"node_hwmon_temp_celsius": 120, "node_md_disks": 1, "node_zfs_zpool_state": 1, "node_memory_MemAvailable_bytes": 1,
		"node_edac_uncorrectable_errors_total": 1e9, "systemd_unit_state": 1,
	} {
		for _, x := range s.series {
			if x.labels.Get("machine") == "laptop" && x.labels.Get("__name__") == metric {
				good := x.base
				x.value = func(at time.Duration) float64 {
					switch {
					case away(at):
						return math.NaN()
					case at > from:
						return bad
					}
					return good
				}
			}
		}
	}
	s.run(90 * time.Minute)
	paged := 0
	for alert, severity := range s.fired {
		name, machine, _ := strings.Cut(alert, " ")
		switch {
		case severity == "none":
		case machine == "laptop":
			require.NotEqual(t, "critical", severity, "%s of a machine that is meant to be off now and then", alert)
			paged++
		default:
			require.Fail(t, "fires on a healthy fleet", alert)
		}
		require.NotEqual(t, "laptop", map[bool]string{true: machine}[name == "MachineDown"])
	}
	require.Greater(t, paged, 5, "what is wrong with the laptop is told all the same: %v", s.fired)
}

// BenchmarkEvaluation prints how much of a CPU the shipped rules need for 1,000
// ordinary machines of 4,000 series each, scraped every 15 s. It simulates
// CLANMON_BENCH_MACHINES of them (100) and multiplies; with CLANMON_BENCH_STOCK=1
// they have the stock exporters.
func BenchmarkEvaluation(b *testing.B) {
	machines := 100
	if n, err := strconv.Atoi(os.Getenv("CLANMON_BENCH_MACHINES")); err == nil {
		machines = n
	}
	s := newSim(b, ShippedOptions{})
	s.stock = os.Getenv("CLANMON_BENCH_STOCK") != ""
	for i := range machines {
		s.machine(fmt.Sprintf("m%04d", i), "always", 1500)
	}
	s.server("m0000")
	b.Logf("%d series", len(s.series))

	// What the long ranges read: hours of recorded series, every 5 minutes.
	filesystems := func(metric string, base, rate float64) []*simSeries {
		var all []*simSeries
		for _, x := range s.series {
			if x.labels.Get("__name__") == "node_filesystem_readonly" && !strings.Contains(x.labels.Get("fstype"), "tmpfs") {
				all = append(all, &simSeries{labels: labels.NewBuilder(x.labels).Set("__name__", metric).Labels(), base: base, rate: rate})
			}
		}
		return all
	}
	raw := s.series
	s.series = append(filesystems("filesystem:last_writable:timestamp_seconds", float64(s.begin.Unix()), 1), filesystems("filesystem:avail:bytes", 1e9, 0)...)
	for s.now = -6 * time.Hour; s.now < -70*time.Minute; s.now += 5 * time.Minute {
		s.scrape(nil)
	}
	for i := range machines {
		s.series = append(s.series, &simSeries{labels: labels.FromStrings("__name__", "machine:first_seen:timestamp_seconds", "machine", fmt.Sprintf("m%04d", i)), base: 1e9})
	}
	s.scrape(nil)
	// An hour of what is read over an hour, and a quarter of one of the rest.
	s.series = raw
	for ; s.now < 0; s.now += simStep {
		s.scrape(func(x *simSeries) bool {
			if s.now >= -15*time.Minute {
				return !strings.HasPrefix(x.labels.Get("__name__"), "node_something_else")
			}
			switch x.labels.Get("__name__") {
			case "up", "node_edac_uncorrectable_errors_total", "node_btrfs_device_errors_total":
				return true
			}
			return false
		})
	}
	s.scrape(nil)
	s.evaluate()       // the first time makes the series of the rules
	const minutes = 30 // of simulated time: garbage is collected in lumps
	for b.Loop() {
		clear(s.cpu)
		clear(s.rules)
		for range int(minutes * time.Minute / simStep) {
			s.now += simStep
			s.scrape(nil)
			s.evaluate()
		}
		var sum time.Duration
		for _, name := range slices.Sorted(func(yield func(string) bool) {
			for name := range s.cpu {
				if !yield(name) {
					return
				}
			}
		}) {
			sum += s.cpu[name]
			b.Logf("%-24s %.3f CPU s a minute", name, s.cpu[name].Seconds()/minutes*1000/float64(machines))
		}
		for name, d := range s.rules {
			if d := d.Seconds() / minutes * 1000 / float64(machines); d > 0.01 {
				b.Logf("%-36s %.3f", name, d)
			}
		}
		b.ReportMetric(sum.Seconds()/minutes*1000/float64(machines), "cpu-s/min")
	}
	b.ReportMetric(0, "ns/op")
}
