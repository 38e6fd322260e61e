package node

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	upstream "github.com/prometheus/node_exporter/collector"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/oracle"
	"github.com/clanmon/clanmon/exporter/collector"
	"github.com/clanmon/clanmon/exporter/collector/collectortest"
	"github.com/clanmon/clanmon/exporter/internal/flagbound"
)

// fixtureCollectors run on upstream's tree of files beside the default ones.
var fixtureCollectors = []string{
	"buddyinfo", "cgroups", "cpu_vulnerabilities", "drbd", "interrupts", "ksmd", "lnstat", "meminfo_numa", "mountstats",
	"pcidevice", "processes", "qdisc", "slabinfo", "softirqs", "sysctl", "wifi", "xfrm", "zoneinfo",
}

// config is that of all tests here: upstream's flags count for the process.
var config = Config{NoFacts: true} // package facts has tests of its own

// fixtures sets upstream's flags once, to its own fixtures, and returns a Set.
func fixtures(t *testing.T) *collector.Set {
	t.Helper()
	parse.Do(func() {
		dir := filepath.Join(oracle.ModuleDir(t, "github.com/prometheus/node_exporter"), "collector", "fixtures")
		var err error
		work, err = os.MkdirTemp("", "clanmon-node-*")
		require.NoError(t, err)
		// Go modules have no symbolic links, of which /proc needs one.
		require.NoError(t, os.CopyFS(filepath.Join(work, "proc"), os.DirFS(filepath.Join(dir, "proc"))))
		require.NoError(t, os.Symlink("10", filepath.Join(work, "proc", "self")))
		unpack(t, filepath.Join(dir, "sys.ttar"), work)
		unpack(t, filepath.Join(dir, "udev.ttar"), work)
		// One collector without data, one that cannot read what it finds.
		require.NoError(t, os.RemoveAll(filepath.Join(work, "sys", "class", "scsi_tape")))
		require.NoError(t, os.WriteFile(filepath.Join(work, "proc", "loadavg"), []byte("much\n"), 0o644))
		args, err := Args(config)
		require.NoError(t, err)
		args = append(
			args,
			"--path.rootfs="+dir, "--path.procfs="+work+"/proc", "--path.sysfs="+work+"/sys", "--path.udev.data="+work+"/udev/data",
			"--no-collector.selinux", "--no-collector.filesystem", "--no-collector.arp.netlink", "--collector.bcache.priorityStats",
			"--collector.cpu.info", "--collector.netclass.ignored-devices=(dmz|int)", "--collector.netclass.ignore-invalid-speed",
			"--collector.qdisc.fixtures="+dir+"/qdisc/", "--collector.wifi.fixtures="+dir+"/wifi", "--collector.stat.softirq",
			"--collector.sysctl.include=fs.file-nr:total,current,max", "--collector.sysctl.include=kernel.threads-max",
		)
		for _, c := range fixtureCollectors {
			args = append(args, "--collector."+c)
		}
		require.NoError(t, flagbound.Parse(args))
	})
	set, err := New(config, collectortest.Discard())
	require.NoError(t, err)
	return set
}

var (
	parse sync.Once
	work  string
)

func TestMain(m *testing.M) {
	code := m.Run()
	if work != "" {
		os.RemoveAll(work)
	}
	os.Exit(code)
}

// unpack unpacks a text archive, the form in which upstream keeps files that
// Git or Go modules could not.
func unpack(t *testing.T, archive, dir string) {
	t.Helper()
	text, err := os.ReadFile(archive)
	require.NoError(t, err)
	lines := strings.SplitAfter(string(text), "\n")
	for i := 0; i < len(lines); i++ {
		key, value, _ := strings.Cut(strings.TrimSuffix(lines[i], "\n"), ": ")
		path := filepath.Join(dir, value)
		switch key {
		case "Directory":
			require.NoError(t, os.MkdirAll(path, 0o755))
		case "Path":
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			next := strings.TrimSuffix(lines[i+1], "\n")
			if target, ok := strings.CutPrefix(next, "SymlinkTo: "); ok {
				require.NoError(t, os.Symlink(target, path))
				i++
				continue
			}
			n, err := strconv.Atoi(strings.TrimPrefix(next, "Lines: "))
			require.NoError(t, err, next)
			body := strings.Join(lines[i+2:i+2+n], "")
			body = nullByte.ReplaceAllString(body, "${1}\x00")
			body = strings.ReplaceAll(body, "EOF\n", "")
			require.NoError(t, os.WriteFile(path, []byte(body), 0o644))
			i += 1 + n
		}
	}
}

var nullByte = regexp.MustCompile(`(^|[^\\])NULLBYTE`)

func TestCollector(t *testing.T) {
	set := fixtures(t)
	collectortest.Check(t, set, collectortest.Expect{
		Prefix:   "node_",
		Families: []string{"node_cpu_seconds_total", "node_memory_MemTotal_bytes", "node_scrape_collector_success", "node_hwmon_temp_celsius"},
		Upstream: true,
	})
}

// moving are families whose values are not the same twice: the clock, the
// kernel beneath the fixtures, and how long things took.
var moving = regexp.MustCompile(`^node_(time_|timex_|scrape_collector_duration_seconds|network_|netstat_|arp_|uname_|watchdog_|textfile_mtime)`)

// What upstream's own NodeCollector exposes is what we do: names, labels,
// types, help and values.
func TestSameMetricsAsUpstream(t *testing.T) {
	set := fixtures(t)
	nc, err := upstream.NewNodeCollector(collectortest.Discard())
	require.NoError(t, err)
	reg := prometheus.NewRegistry()
	reg.MustRegister(nc)
	theirs, err := reg.Gather()
	require.NoError(t, err)
	ours := collectortest.Gather(t, set, nil)

	require.Greater(t, len(theirs), 500, "the fixtures have more than that")
	require.Len(t, ours, len(theirs))
	for _, f := range theirs {
		o := ours[f.GetName()]
		require.NotNil(t, o, "we lack %s", f.GetName())
		if moving.MatchString(f.GetName()) {
			clearValues(f)
			clearValues(o)
		}
		require.Equal(t, text(t, f), text(t, o))
	}
}

func clearValues(f *dto.MetricFamily) {
	for _, m := range f.Metric {
		*m = dto.Metric{Label: m.Label}
	}
}

func text(t *testing.T, f *dto.MetricFamily) string {
	t.Helper()
	if len(f.Metric) > 0 && f.Metric[0].Gauge == nil && f.Metric[0].Counter == nil && f.Metric[0].Untyped == nil && f.Metric[0].Summary == nil && f.Metric[0].Histogram == nil {
		return f.String()
	}
	var b bytes.Buffer
	_, err := expfmt.MetricFamilyToText(&b, f)
	require.NoError(t, err)
	return b.String()
}

func TestSuccessOfEachCollector(t *testing.T) {
	families := collectortest.Gather(t, fixtures(t), []string{"cpu", "meminfo", "tapestats", "loadavg"})
	got := map[string]float64{}
	for _, m := range families["node_scrape_collector_success"].Metric {
		got[m.Label[0].GetValue()] = m.Gauge.GetValue()
		require.Equal(t, "collector", m.Label[0].GetName())
	}
	require.Equal(t, map[string]float64{"cpu": 1, "meminfo": 1, "tapestats": 0, "loadavg": 0}, got)
	require.Contains(t, families, "node_cpu_info")
	require.NotContains(t, families, "node_filefd_allocated")
}

// A collector without anything to read is not worth an operator's time.
// One that fails is, the first time.
func TestWhatIsLogged(t *testing.T) {
	fixtures(t)
	var log bytes.Buffer
	set, err := New(config, slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)
	log.Reset()
	for range 3 {
		collectortest.Gather(t, set, []string{"tapestats", "cpu"})
	}
	require.Empty(t, log.String())
	for range 3 {
		collectortest.Gather(t, set, []string{"loadavg"})
	}
	require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
	require.Contains(t, log.String(), "collector=loadavg")
}

func TestFilterSpeaksAsUpstream(t *testing.T) {
	fixtures(t)
	require.NoError(t, Filter([]string{"cpu", "loadavg"}))
	require.EqualError(t, Filter([]string{"cpu", "nonsense"}), "missing collector: nonsense")
	require.EqualError(t, Filter([]string{"filesystem"}), "disabled collector: filesystem")
	require.EqualError(t, Filter([]string{"memory"}), "missing collector: memory", "words are for the command line")
}

func TestNamesAreUpstreams(t *testing.T) {
	names := Names()
	for _, n := range []string{"cpu", "cpu_vulnerabilities", "kernel_hung", "systemd", "ntp"} {
		require.Contains(t, names, n)
	}
	// A name that Filter does not miss is one that upstream knows.
	fixtures(t)
	for _, n := range names {
		if err := Filter([]string{n}); err != nil {
			require.EqualError(t, err, "disabled collector: "+n)
		}
	}
	require.True(t, slices.IsSorted(names))
}

func TestWords(t *testing.T) {
	for word, want := range map[string]string{
		"memory":      "meminfo",
		"load":        "loadavg",
		"disk":        "diskstats filesystem",
		"temperature": "hwmon thermal_zone",
		"systemd":     "systemd",
		"time":        "time",
		"cpu":         "cpu",
		"network":     "netdev netclass netstat sockstat conntrack softnet arp",
	} {
		got, err := Expand([]string{word})
		require.NoError(t, err)
		require.Equal(t, want, strings.Join(got, " "), word)
	}
	got, err := Expand([]string{"network", "netdev", "load", "net", "loadavg"})
	require.NoError(t, err)
	require.Equal(t, []string{"netdev", "netclass", "netstat", "sockstat", "conntrack", "softnet", "arp", "loadavg"}, got)

	args, err := Args(Config{Collectors: []string{"load", "memory"}})
	require.NoError(t, err)
	require.Equal(t, []string{"--collector.loadavg", "--collector.meminfo"}, args)

	_, err = Expand([]string{"cpu", "memmory"})
	var unknown *UnknownCollectorError
	require.ErrorAs(t, err, &unknown)
	require.Equal(t, "memmory", unknown.Got)
	require.Contains(t, unknown.Known, "memory")
	require.Contains(t, unknown.Known, "meminfo")
}

// The words only add to upstream's names, and stand for what upstream has.
func TestWordsAndNamesDoNotCollide(t *testing.T) {
	names := Names()
	for word, meant := range Words {
		require.NotContains(t, names, word, "an upstream name always means the upstream collector")
		for _, n := range meant {
			require.Contains(t, names, n, "of the word %q", word)
		}
	}
}

func TestDevicesWithUncleanNamesAreLeftOut(t *testing.T) {
	require.Equal(t, []string{
		"--collector.netclass.ignored-devices=(?:^lo$|x)|\\x{FFFD}", "--collector.arp.device-include=eth.*", "--collector.netdev.device-blacklist=lo", "--collector.qdisk.device-exclude=lo",
		"--collector.ethtool.device-exclude=\\x{FFFD}",
	}, LeaveOutUnclean([]string{
		"--collector.netclass.ignored-devices=^lo$|x", "--collector.arp.device-include=eth.*", "--collector.netdev.device-blacklist=lo", "--collector.qdisk.device-exclude=lo",
	}))
	for name, want := range map[string]bool{"e\xff1": true, "eth0": false, "caf\xc3\xa9": false, "docker0": true} {
		require.Equal(t, want, regexp.MustCompile("(?:^docker)|"+unclean).MatchString(name), "%q", name)
	}
}
