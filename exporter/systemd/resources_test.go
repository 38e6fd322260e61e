package systemd

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/exporter/collector"
	"github.com/clanmon/clanmon/exporter/collector/collectortest"
	"github.com/clanmon/clanmon/exporter/internal/units"
)

// tree writes files and returns a collector that reads them.
func tree(t *testing.T, files map[string]string) *resources {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	wanted, err := units.Filter("", ".+", ".+\\.device")
	require.NoError(t, err)
	r := newResources(wanted, filepath.Join(dir, "sys"), filepath.Join(dir, "proc"), dir)
	r.root, r.docker = filepath.Join(dir, "cgroup"), filepath.Join(dir, "docker")
	return r
}

// What is added to upstream's metrics is of the file systems that node_exporter's
// flags name.
func TestResourcesOfAHostSeenFromAContainer(t *testing.T) {
	r := newResources(nil, "/host/sys", "/host/proc", "/host")
	require.Equal(t, []string{"/host/sys/fs/cgroup", "/host/proc", "/host/var/lib/docker/containers"}, []string{r.root, r.proc, r.docker})
}

// With --systemd.collector.user it is of the user's own units.
func TestResourcesOfAUsersUnits(t *testing.T) {
	r := tree(t, map[string]string{
		"cgroup/cgroup.controllers":                                                        "",
		"cgroup/system.slice/a.service/memory.current":                                     "1",
		"cgroup/user.slice/user-7.slice/user@7.service/app.slice/b.service/memory.current": "2",
		"cgroup/user.slice/user-8.slice/user@8.service/app.slice/c.service/memory.current": "3",
	})
	require.Equal(t, map[string]float64{"systemd_unit_memory_bytes{current a.service}": 1}, series(t, r))
	r.user = "7"
	require.Equal(t, map[string]float64{"systemd_unit_memory_bytes{current b.service}": 2}, series(t, r))
}

// A directory that may not be read, such as another user's, costs what is in it.
func TestResourcesBesideWhatCannotBeRead(t *testing.T) {
	r := tree(t, map[string]string{
		"cgroup/cgroup.controllers":                            "",
		"cgroup/a.slice/closed.slice/x.service/memory.current": "1",
		"cgroup/a.slice/z.service/memory.current":              "1",
		"cgroup/system.slice/b.service/memory.current":         "1",
	})
	require.NoError(t, os.Chmod(filepath.Join(r.root, "a.slice/closed.slice"), 0))
	if os.Geteuid() == 0 {
		runtime.LockOSThread() // the thread ends with the test
		require.NoError(t, filepath.WalkDir(filepath.Dir(r.root), func(path string, _ os.DirEntry, err error) error {
			if err == nil && !strings.HasSuffix(path, "closed.slice") {
				err = os.Chmod(path, 0o755)
			}
			return err
		}))
		require.NoError(t, os.Chmod(filepath.Dir(filepath.Dir(r.root)), 0o755))
		require.NoError(t, syscall.Setfsuid(65534))
		defer func() { require.NoError(t, syscall.Setfsuid(0)) }()
	}
	groups, err := r.groups(t.Context(), r.root)
	require.ErrorIs(t, err, os.ErrPermission)
	var found []string
	for _, g := range groups {
		found = append(found, g.unit)
	}
	require.Equal(t, []string{"a.slice", "closed.slice", "z.service", "system.slice", "b.service"}, found)
}

// series collects and returns the values by name and labels.
func series(t *testing.T, r *resources) map[string]float64 {
	t.Helper()
	set := collector.NewSet(map[string]collector.Collector{"resources": r}, collectortest.Discard(), func(o collector.Outcome) []prometheus.Metric {
		require.NoError(t, o.Err)
		return nil
	})
	got := map[string]float64{}
	for name, f := range collectortest.Gather(t, set, nil) {
		for _, m := range f.Metric {
			got[name+labels(m)] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return got
}

func labels(m *dto.Metric) string {
	var pairs []string
	for _, l := range m.Label {
		if l.GetName() != "type" { // follows from the name
			pairs = append(pairs, l.GetValue())
		}
	}
	return "{" + strings.Join(pairs, " ") + "}"
}

const (
	podmanID = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	dockerID = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
)

// The unified hierarchy, with files as Linux 6.12 has them.
func TestResourcesOfUnifiedHierarchy(t *testing.T) {
	const nginx, user = "cgroup/system.slice/nginx.service/", "cgroup/user.slice/user-1.slice/user@1.service/"
	r := tree(t, map[string]string{
		"cgroup/cgroup.controllers":                       "cpuset cpu io memory hugetlb pids\n",
		nginx + "cgroup.events":                           "populated 1\nfrozen 0\n",
		nginx + "cpu.stat":                                "usage_usec 3500000\nuser_usec 2000000\nsystem_usec 1500000\nnice_usec 0\nnr_periods 0\n",
		nginx + "memory.current":                          "41943040\n",
		nginx + "memory.peak":                             "83886080\n",
		nginx + "memory.stat":                             "anon 20971520\nfile 10485760\nanon_thp 1\nfile_mapped 2\n",
		nginx + "memory.events":                           "low 0\nhigh 0\nmax 3\noom 2\noom_kill 1\noom_group_kill 0\n",
		nginx + "io.stat":                                 "259:0 rbytes=100 wbytes=20 rios=1 wios=1 dbytes=0 dios=0\n8:0 rbytes=1 wbytes=2 rios=1 wios=1 dbytes=0 dios=0\n7:0 \n",
		nginx + "pids.current":                            "5\n",
		nginx + "cpu.pressure":                            "some avg10=0.00 avg60=0.00 avg300=0.00 total=250000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n",
		nginx + "memory.pressure":                         "some avg10=0.00 avg60=0.00 avg300=0.00 total=500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n",
		nginx + "io.pressure":                             "some avg10=0.00 avg60=0.00 avg300=0.00 total=750000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n",
		"cgroup/system.slice/done.service/cgroup.events":  "populated 0\nfrozen 0\n",
		"cgroup/system.slice/done.service/memory.current": "5\n",
		// Inside a unit is its own business.
		nginx + "inner.service/cpu.stat":                                      "user_usec 1\n",
		"cgroup/user.slice/user-1.slice/cpu.stat":                             "user_usec 1000000\nsystem_usec 0\n",
		"cgroup/user.slice/user-1.slice/session-2.scope/pids.current":         "3\n",
		user + "app.slice/editor.service/memory.current":                      "1\n",
		user + "user.slice/libpod-" + dockerID + ".scope/memory.current":      "19\n",
		user + "user.slice/libpod-conmon-" + dockerID + ".scope/cgroup.procs": "79\n",
		"proc/79/cmdline": "conmon\x00-n\x00mine\x00",
		"cgroup/system.slice/_cgroup.service/memory.current":                     "7\n",
		"cgroup/system.slice/no-unit/cpu.stat":                                   "user_usec 1\n",
		"cgroup/system.slice/quo\"te\\x2d ü.service/memory.current":              "9\n",
		"cgroup/system.slice/bad\xff.service/memory.current":                     "11\n",
		"cgroup/system.slice/garbage.service/memory.current":                     "many\n",
		"cgroup/system.slice/garbage.service/cpu.stat":                           "user_usec\nuser_usecs 5\n",
		"cgroup/machine.slice/libpod-" + podmanID + ".scope/memory.current":      "13\n",
		"cgroup/machine.slice/libpod-conmon-" + podmanID + ".scope/cgroup.procs": "77\n78\n",
		"proc/78/cmdline": "/usr/bin/conmon\x00-c\x00" + podmanID + "\x00-n\x00web\x00",
		"cgroup/system.slice/docker-" + dockerID + ".scope/memory.current": "15\n",
		"docker/" + dockerID + "/config.v2.json":                           `{"ID":"` + dockerID + `","Name":"/db"}`,
		"cgroup/system.slice/docker-" + podmanID + ".scope/memory.current": "17\n",
	})
	for range 2 { // the second time with the containers' names known
		require.Equal(t, map[string]float64{
			"systemd_unit_cpu_seconds_total{user nginx.service}":                2,
			"systemd_unit_cpu_seconds_total{system nginx.service}":              1.5,
			"systemd_unit_memory_bytes{current nginx.service}":                  41943040,
			"systemd_unit_memory_bytes{peak nginx.service}":                     83886080,
			"systemd_unit_memory_bytes{anon nginx.service}":                     20971520,
			"systemd_unit_memory_bytes{file nginx.service}":                     10485760,
			"systemd_unit_oom_kills_total{nginx.service}":                       1,
			"systemd_unit_io_bytes_total{read nginx.service}":                   101,
			"systemd_unit_io_bytes_total{write nginx.service}":                  22,
			"systemd_unit_pressure_waiting_seconds_total{nginx.service cpu}":    0.25,
			"systemd_unit_pressure_waiting_seconds_total{nginx.service memory}": 0.5,
			"systemd_unit_pressure_waiting_seconds_total{nginx.service io}":     0.75,
			"systemd_unit_cpu_seconds_total{user user-1.slice}":                 1,
			"systemd_unit_cpu_seconds_total{system user-1.slice}":               0,
			"systemd_unit_tasks_current{session-2.scope}":                       3,
			"systemd_unit_memory_bytes{current cgroup.service}":                 7,
			"systemd_unit_memory_bytes{current quo\"te\\x2d ü.service}":         9,
			"systemd_unit_memory_bytes{current bad\uFFFD.service}":              11,
			"systemd_unit_memory_bytes{current podman-web.scope}":               13,
			"systemd_unit_memory_bytes{current podman-mine.scope}":              19,
			"systemd_unit_memory_bytes{current docker-db.scope}":                15,
			"systemd_unit_memory_bytes{current docker-0123456789ab.scope}":      17,
		}, series(t, r))
	}
	r.all = true
	require.Equal(t, 5.0, series(t, r)["systemd_unit_memory_bytes{current done.service}"])
}

// A container is there a moment before its monitor says what it is called.
func TestAContainerGetsItsNameLater(t *testing.T) {
	r := tree(t, map[string]string{
		"cgroup/cgroup.controllers":                                              "memory\n",
		"cgroup/system.slice/a.service/cpu.stat":                                 "",
		"cgroup/machine.slice/libpod-" + podmanID + ".scope/memory.current":      "13\n",
		"cgroup/machine.slice/libpod-conmon-" + podmanID + ".scope/cgroup.procs": "78\n",
	})
	require.Contains(t, series(t, r), "systemd_unit_memory_bytes{current podman-0123456789ab.scope}")
	monitor := filepath.Join(r.proc, "78", "cmdline")
	require.NoError(t, os.MkdirAll(filepath.Dir(monitor), 0o755))
	require.NoError(t, os.WriteFile(monitor, []byte("conmon\x00-n\x00web\x00"), 0o644))
	require.Equal(t, map[string]float64{"systemd_unit_memory_bytes{current podman-web.scope}": 13}, series(t, r))
}

// The hybrid and the legacy layout: units in a hierarchy without controllers, the
// figures in those of the controllers.
func TestResourcesOfOldHierarchies(t *testing.T) {
	for _, layout := range []string{"unified", "systemd"} {
		files := map[string]string{
			"cgroup/" + layout + "/system.slice/a.service/cgroup.procs":                     "1\n",
			"cgroup/cpuacct/system.slice/a.service/cpuacct.stat":                            "user 250\nsystem 50\n",
			"cgroup/memory/system.slice/a.service/memory.usage_in_bytes":                    "300\n",
			"cgroup/memory/system.slice/a.service/memory.max_usage_in_bytes":                "400\n",
			"cgroup/memory/system.slice/a.service/memory.stat":                              "cache 1\nrss 2\ntotal_cache 100\ntotal_rss 200\n",
			"cgroup/memory/system.slice/a.service/memory.oom_control":                       "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n",
			"cgroup/blkio/system.slice/a.service/blkio.throttle.io_service_bytes_recursive": "8:0 Read 10\n8:0 Write 20\n8:0 Sync 30\n8:16 Read 1\n8:16 Write 2\nTotal 33\n",
			"cgroup/unified/cgroup.controllers":                                             "",
		}
		if layout == "unified" {
			files["cgroup/unified/system.slice/a.service/io.pressure"] = "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n"
		}
		want := map[string]float64{
			"systemd_unit_cpu_seconds_total{user a.service}":   2.5,
			"systemd_unit_cpu_seconds_total{system a.service}": 0.5,
			"systemd_unit_memory_bytes{current a.service}":     300,
			"systemd_unit_memory_bytes{peak a.service}":        400,
			"systemd_unit_memory_bytes{anon a.service}":        200,
			"systemd_unit_memory_bytes{file a.service}":        100,
			"systemd_unit_oom_kills_total{a.service}":          4,
			"systemd_unit_io_bytes_total{read a.service}":      11,
			"systemd_unit_io_bytes_total{write a.service}":     22,
		}
		if layout == "unified" {
			want["systemd_unit_pressure_waiting_seconds_total{a.service io}"] = 1
		}
		require.Equal(t, want, series(t, tree(t, files)), layout)
	}
}

func TestResourcesWithoutSystemd(t *testing.T) {
	r := tree(t, map[string]string{"cgroup/cgroup.controllers": ""})
	require.ErrorIs(t, r.Collect(t.Context(), nil), collector.ErrNoData)
}

// More units than anybody has cost a bounded number of series.
func TestResourcesAreBounded(t *testing.T) {
	files := map[string]string{"cgroup/cgroup.controllers": ""}
	for i := range mostUnits + 500 {
		files[fmt.Sprintf("cgroup/system.slice/u%05d.service/memory.current", i)] = "1\n"
	}
	r := tree(t, files)
	ch := make(chan prometheus.Metric, len(files))
	require.ErrorContains(t, r.Collect(t.Context(), ch), "--systemd.collector.unit-exclude")
	require.Less(t, len(ch), mostUnits)
}
