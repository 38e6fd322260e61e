package events

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/teststorage"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Everything here happens in the hours after begin.
var begin = time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)

func at(minutes float64) time.Time { return begin.Add(time.Duration(minutes * float64(time.Minute))) }

// sec is at in Unix seconds.
func sec(minutes float64) float64 { return unix(at(minutes)) }

const gap = math.MaxFloat64 // no sample

type data struct {
	t     *testing.T
	store *teststorage.TestStorage
}

func newData(t *testing.T) *data {
	return &data{t, teststorage.New(t)}
}

// series stores a sample each minute from begin on.
func (d *data) series(ls labels.Labels, minutes int, v func(minute int) float64) {
	d.t.Helper()
	app := d.store.Appender(context.Background())
	ref := storage.SeriesRef(0)
	var err error
	for i := range minutes {
		if x := v(i); x != gap {
			ref, err = app.Append(ref, ls, at(float64(i)).UnixMilli(), x)
			require.NoError(d.t, err)
		}
	}
	require.NoError(d.t, app.Commit())
}

func always(v float64) func(int) float64 { return func(int) float64 { return v } }

func during(from, to int, v float64) func(int) float64 {
	return func(i int) float64 {
		switch {
		case i == to:
			return math.Float64frombits(value.StaleNaN)
		case i < from || i > to:
			return gap
		}
		return v
	}
}

func (d *data) find(q Question) []Event {
	d.t.Helper()
	if q.Limit == 0 {
		q.Limit = 1000
	}
	if q.From.IsZero() {
		q.From, q.To = at(10), at(600)
	}
	a, err := New(Options{Store: d.store}).Find(d.t.Context(), q)
	require.NoError(d.t, err)
	return a.Events
}

// texts are events in words, the oldest first.
func texts(all []Event) (out []string) {
	for _, e := range slices.Backward(all) {
		text := fmt.Sprintf("%+.1f %s %s: %s", (e.Time-sec(0))/60, e.Kind, e.Machine, e.Text)
		if e.End != nil {
			text += fmt.Sprintf(" until %+.1f", (*e.End-sec(0))/60)
		}
		out = append(out, text)
	}
	return out
}

func TestReboots(t *testing.T) {
	d := newData(t)
	node := func(machine string) labels.Labels {
		return labels.FromStrings("__name__", "node_boot_time_seconds", "job", "node", "machine", machine, "instance", machine+":9100")
	}
	// Off from minute 100 to 400, and again for a minute within one chunk.
	d.series(node("a"), 600, func(i int) float64 {
		switch {
		case i < 100:
			return sec(-5000)
		case i < 400:
			return gap
		case i < 455:
			return sec(398.5)
		}
		return sec(454.2)
	})
	// Its clock was set by an hour: no reboot. So was that of c, which counts from 1970 first.
	d.series(node("b"), 600, func(i int) float64 { return sec(-5000) + 3600*float64(i/300) })
	d.series(node("c"), 600, func(i int) float64 {
		if i < 200 {
			return sec(-100)
		}
		if i < 202 {
			return 17
		}
		return sec(199.5)
	})
	// A second exporter says the same.
	d.series(labels.FromStrings("__name__", "node_boot_time_seconds", "job", "other", "machine", "a", "instance", "a:1"), 600, func(i int) float64 {
		if i < 400 {
			return sec(-5000)
		}
		return sec(398.5)
	})
	// Without the label machine it is the host.
	d.series(labels.FromStrings("__name__", "node_boot_time_seconds", "job", "node", "instance", "d:9100"), 600, func(i int) float64 {
		if i < 300 {
			return sec(-5)
		}
		return sec(299)
	})
	assert.Equal(t, []string{"+200.0 reboot c: rebooted", "+299.0 reboot d: rebooted", "+398.5 reboot a: rebooted", "+454.2 reboot a: rebooted"}, texts(d.find(Question{})))
	assert.Equal(t, []string{"+454.2 reboot a: rebooted"}, texts(d.find(Question{From: at(420), To: at(460), Machine: "a"})))
	assert.Equal(t, []string{"+299.0 reboot d: rebooted"}, texts(d.find(Question{From: at(10), To: at(600), Machine: "d"})))
	assert.Empty(t, d.find(Question{From: at(455), To: at(600)}))
	assert.Empty(t, d.find(Question{Kinds: []string{KindAlert}}))
}

func TestVersions(t *testing.T) {
	d := newData(t)
	info := func(name, label, version, job string) labels.Labels {
		return labels.FromStrings("__name__", name, "job", job, "machine", "a", "instance", "a:1", label, version)
	}
	d.series(labels.FromStrings("__name__", "clanmon_nixos_generation", "which", "current", "job", "node", "machine", "a"), 600, func(i int) float64 {
		if i < 300 {
			return 412
		}
		if i < 500 {
			return 413
		}
		return 412 // rolled back
	})
	d.series(labels.FromStrings("__name__", "clanmon_nixos_generation", "which", "booted", "job", "node", "machine", "a"), 600, func(i int) float64 { return float64(i / 100) })
	// Activated with each generation, and once more to try something.
	d.series(labels.FromStrings("__name__", "clanmon_nixos_system_activated_timestamp_seconds", "job", "node", "machine", "a"), 600, func(i int) float64 {
		switch {
		case i < 300:
			return 1
		case i < 400:
			return 2
		case i < 500:
			return 3
		}
		return 4
	})
	// Two exporters of the machine say which system it is.
	for _, job := range []string{"node", "other"} {
		system := func(revision, kernel string) labels.Labels {
			return labels.FromStrings("__name__", "clanmon_nixos_system_info", "job", job, "machine", "a", "revision", revision, "kernel", kernel, "version", "26.05")
		}
		d.series(system("1111111aaaa", "6.12.30"), 600, during(0, 300, 1))
		d.series(system("9c1f2a3bbbb", "6.12.31"), 600, during(300, 400, 1))
		d.series(system("2222222cccc-dirty", "6.12.31"), 600, during(400, 500, 1))
		d.series(system("1111111aaaa", "6.12.30"), 600, during(500, 700, 1))
	}
	d.series(info("node_uname_info", "release", "6.12.30", "node"), 600, during(0, 320, 1))
	d.series(info("node_uname_info", "release", "6.12.31", "node"), 600, during(322, 450, 1))
	d.series(info("clanmon_build_info", "version", "1.0", "node"), 600, during(0, 200, 1))
	d.series(info("clanmon_build_info", "version", "1.1", "node"), 600, during(200, 600, 1))
	d.series(info("clanmon_build_info", "version", "1.0", "systemd"), 600, during(0, 200, 1))
	d.series(info("clanmon_build_info", "version", "1.1", "systemd"), 600, during(200, 600, 1))
	// Two exporters side by side are no change.
	d.series(info("node_exporter_build_info", "version", "1.9", "node"), 600, always(1))
	d.series(info("node_exporter_build_info", "version", "1.8", "node").MatchLabels(true, "__name__", "job", "machine", "version"), 600, during(100, 600, 1))
	assert.Equal(t, []string{
		"+200.0 exporter a: exporter 1.0 → 1.1",
		"+300.0 system a: NixOS generation 412 → 413, rev 9c1f2a3, kernel 6.12.30 → 6.12.31",
		"+322.0 system a: kernel 6.12.30 → 6.12.31",
		"+400.0 system a: NixOS system activated, rev 2222222-dirty",
		"+500.0 system a: NixOS generation 413 → 412, rev 1111111, kernel 6.12.31 → 6.12.30",
	}, texts(d.find(Question{})))
}

// A machine is what the fleet calls it; node_uname_info has an architecture in the label machine.
func TestWhose(t *testing.T) {
	d := newData(t)
	for i, release := range []string{"1", "2"} {
		when := during(200*i, 200*i+200, 1)
		d.series(labels.FromStrings("__name__", "node_uname_info", "job", "node", "instance", "127.0.0.1:9100", "machine", "x86_64", "release", release), 600, when)
		d.series(labels.FromStrings("__name__", "node_uname_info", "job", "node", "instance", "b:9100", "machine", "x86_64", "release", release), 600, when)
		d.series(labels.FromStrings("__name__", "node_uname_info", "job", "node", "instance", "c:9100", "machine", "c", "exported_machine", "x86_64", "release", release), 600, when)
	}
	e := New(Options{Store: d.store, Whose: func() func(labels.Labels) string {
		return func(ls labels.Labels) string {
			if ls.Get("instance") == "127.0.0.1:9100" {
				return "box"
			}
			return ""
		}
	}})
	for machine, want := range map[string][]string{
		"":    {"+200.0 system c: kernel 1 → 2", "+200.0 system box: kernel 1 → 2", "+200.0 system b: kernel 1 → 2"},
		"box": {"+200.0 system box: kernel 1 → 2"},
	} {
		a, err := e.Find(t.Context(), Question{From: at(10), To: at(600), Machine: machine, Limit: 10})
		require.NoError(t, err)
		assert.Equal(t, want, texts(a.Events))
	}
}

func TestAlerts(t *testing.T) {
	d := newData(t)
	alert := func(name, severity string, more ...string) labels.Labels {
		return labels.FromStrings(append([]string{"__name__", "ALERTS", "alertname", name, "alertstate", "firing", "severity", severity, "machine", "a"}, more...)...)
	}
	d.series(alert("DiskFull", "critical", "mountpoint", "/srv"), 700, during(100, 130, 1))
	d.series(alert("UnitFailed", "warning", "name", "backup.service"), 700, during(200, 205, 1))
	d.series(alert("TooHot", "critical"), 700, during(300, 900, 1)) // still fires
	d.series(alert("Early", "warning"), 700, during(0, 50, 1))      // since before
	d.series(alert("UnitFailed", "warning", "name", "x.service"), 700, during(0, 60, 1))
	d.series(alert("Long", "warning"), 700, during(0, 900, 1))           // before and after
	d.series(alert("Watchdog", "none"), 700, during(100, 130, 1))        // internal
	d.series(alert("MachineRebooted", "info"), 700, during(100, 130, 1)) // another kind says it
	d.series(labels.FromStrings("__name__", "ALERTS", "alertname", "CheckFailing", "alertstate", "firing", "severity", "warning", "check", "cloud", "instance", "https://cloud.example.org"), 700, during(550, 560, 1))
	d.series(labels.FromStrings("__name__", "ALERTS", "alertname", "NotYet", "alertstate", "pending", "severity", "critical", "machine", "a"), 700, during(100, 130, 1))
	// The server restarts: the rules are not evaluated for 8 minutes, and once for half an hour.
	d.series(alert("Paused", "info"), 700, func(i int) float64 {
		if i < 400 || i > 420 && i < 428 || i > 440 && i < 470 || i > 480 {
			return gap
		}
		return 1
	})
	found := d.find(Question{From: at(20), To: at(600)})
	assert.Equal(t, []string{
		"+50.0 alert a: Early resolved",
		"+60.0 unit a: x.service recovered",
		"+100.0 alert a: DiskFull /srv until +130.0",
		"+200.0 unit a: backup.service failed until +205.0",
		"+300.0 alert a: TooHot",
		"+400.0 alert a: Paused until +440.0",
		"+470.0 alert a: Paused until +480.0",
		"+550.0 check : check cloud failed until +560.0",
	}, texts(found))
	overlapping := texts(d.find(Question{From: at(20), To: at(600), Overlapping: true}))
	assert.Subset(t, overlapping, []string{"+0.0 alert a: Early until +50.0", "+0.0 unit a: x.service failed until +60.0", "+0.0 alert a: Long"})
	assert.Len(t, overlapping, len(found)+1)
	assert.NotContains(t, texts(d.find(Question{From: at(55), To: at(600), Overlapping: true})), "+0.0 alert a: Early until +50.0")
	assert.Equal(t, "critical", found[5].Severity)
	assert.Equal(t, "DiskFull", found[5].Alert)
}

func TestMachinesAndServers(t *testing.T) {
	d := newData(t)
	up := func(machine string) labels.Labels {
		return labels.FromStrings("__name__", "up", "job", "node", "machine", machine, "instance", machine+":1")
	}
	d.series(up("a"), 600, always(1))
	d.series(up("down"), 600, always(0))
	d.series(up("gone"), 600, during(0, 350, 1))
	d.series(labels.FromStrings("__name__", "machine:first_seen:timestamp_seconds", "machine", "new"), 600, always(sec(123)))
	d.series(labels.FromStrings("__name__", "machine:first_seen:timestamp_seconds", "machine", "old"), 600, always(sec(-9000)))
	own := []string{"job", "clanmon", "machine", "hub", "instance", "hub:9090"}
	d.series(labels.FromStrings(append([]string{"__name__", "process_start_time_seconds"}, own...)...), 600, func(i int) float64 {
		if i < 400 {
			return sec(-10)
		}
		return sec(399.5)
	})
	d.series(labels.FromStrings(append([]string{"__name__", "prometheus_config_last_reload_success_timestamp_seconds"}, own...)...), 600, func(i int) float64 {
		if i < 250 {
			return sec(-10)
		}
		if i < 400 {
			return sec(249.8)
		}
		return sec(399.6)
	})
	assert.Equal(t, []string{
		"+123.0 machine new: first seen",
		"+249.8 server hub: configuration reloaded",
		"+350.0 machine gone: no longer scraped",
		"+399.5 server hub: monitoring server restarted",
	}, texts(d.find(Question{From: at(20), To: at(599)})))
	// When nothing is scraped it is the server that was away.
	assert.Equal(t, []string{}, append([]string{}, texts(d.find(Question{From: at(20), To: at(900), Kinds: []string{KindMachine}, Machine: "gone"}))...))
}

func TestManyAtOnceAreOne(t *testing.T) {
	d := newData(t)
	for n := range 200 {
		d.series(labels.FromStrings("__name__", "node_boot_time_seconds", "job", "node", "machine", fmt.Sprintf("m%03d", n)), 300, func(i int) float64 {
			if i < 100 {
				return sec(-100)
			}
			return sec(99) + float64(n)
		})
	}
	for n := range 3 {
		d.series(labels.FromStrings("__name__", "node_boot_time_seconds", "job", "node", "machine", fmt.Sprintf("n%03d", n)), 300, func(i int) float64 {
			if i < 200 {
				return sec(-100)
			}
			return sec(199)
		})
	}
	found := d.find(Question{To: at(300), From: at(10)})
	require.Len(t, found, 4)
	g := found[3]
	assert.Equal(t, 200, g.Count)
	assert.Len(t, g.Machines, 50)
	assert.Equal(t, "rebooted: 200 machines", g.Text)
	assert.Equal(t, sec(99), g.Time)
	assert.Empty(t, g.Machine)
	assert.Nil(t, g.End)
	// Of one machine there are no groups, and the newest come first.
	assert.Len(t, d.find(Question{To: at(300), From: at(10), Machine: "m007"}), 1)
	a, err := New(Options{Store: d.store}).Find(t.Context(), Question{From: at(10), To: at(300), Limit: 1})
	require.NoError(t, err)
	assert.Equal(t, 3, a.LeftOut)
	assert.Equal(t, sec(199), a.Events[0].Time)
}

func TestFilesystems(t *testing.T) {
	d := newData(t)
	mounts := func(machine, point, device, fstype string) labels.Labels {
		return labels.FromStrings("__name__", mounted, "job", "node", "machine", machine, "instance", machine+":9100", "mountpoint", point, "device", device, "fstype", fstype, "device_error", "")
	}
	mount := func(machine, point string, when func(int) float64) {
		d.t.Helper()
		d.series(mounts(machine, point, "/dev/"+machine+strings.ReplaceAll(point, "/", "-"), "ext4"), 600, when)
	}
	either := func(all ...func(int) float64) func(int) float64 {
		return func(i int) float64 {
			for _, f := range all {
				if v := f(i); v != gap {
					return v
				}
			}
			return gap
		}
	}
	// A disk that is added, one that is removed, and one that is lost and found.
	mount("a", "/", always(0))
	mount("a", "/srv", during(200, 900, 0))
	mount("a", "/old", during(0, 300, 0))
	mount("a", "/lost", either(during(0, 100, 0), during(400, 900, 0)))
	// What comes and goes is none: an automounter, a short mount, a pause of the exporter.
	mount("a", "/auto", either(during(60, 90, 0), during(160, 190, 0), during(260, 290, 0)))
	mount("a", "/short", during(250, 255, 0))
	mount("a", "/pause", either(during(0, 100, 0), during(108, 900, 0)))
	// Nor is what programs mount.
	d.series(mounts("a", "/run/user/1000", "tmpfs", "tmpfs"), 600, during(200, 900, 0))
	d.series(mounts("a", "/var/lib/docker/overlay2/x", "/dev/x", "ext4"), 600, during(200, 900, 0))
	d.series(mounts("a", "/merged", "overlay", "overlay"), 600, during(200, 900, 0))
	d.series(mounts("a", "/media/ada/STICK", "/dev/sdz1", "vfat"), 600, during(200, 900, 0))
	d.series(mounts("a", "/tank/.zfs/snapshot/x", "tank@x", "zfs"), 600, during(200, 900, 0))
	// Seen for the first time, with a mount that takes its time.
	mount("new", "/", during(300, 900, 0))
	mount("new", "/home", during(305, 900, 0))
	// Off for hours, as a whole; it returns without one of its disks, and with another device.
	d.series(mounts("off", "/", "/dev/sda1", "ext4"), 600, during(0, 150, 0))
	d.series(mounts("off", "/", "/dev/sdb1", "ext4"), 600, during(450, 900, 0))
	mount("off", "/data", during(0, 150, 0))
	// The exporter is of another version and says what a mount is like by another label.
	d.series(mounts("b", "/", "/dev/sda1", "ext4"), 600, during(0, 350, 0))
	d.series(mounts("b", "/", "/dev/sda1", "btrfs"), 600, during(350, 900, 0))
	// A pool with many datasets.
	mount("nas", "/", always(0))
	for n := range 12 {
		mount("nas", fmt.Sprintf("/tank/%02d", n), during(500, 900, 0))
	}
	found := d.find(Question{From: at(20), To: at(599)})
	assert.ElementsMatch(t, []string{
		"+100.0 filesystem a: filesystem /lost no longer mounted",
		"+200.0 filesystem a: filesystem /srv mounted",
		"+300.0 filesystem a: filesystem /old no longer mounted",
		"+400.0 filesystem a: filesystem /lost mounted",
		"+450.0 filesystem off: filesystem /data no longer mounted",
		"+500.0 filesystem nas: 12 filesystems mounted",
	}, texts(found))
	assert.Equal(t, "ext4, /dev/a-srv", found[slices.IndexFunc(found, func(e Event) bool { return e.Text == "filesystem /srv mounted" })].Detail)
	assert.Contains(t, found[0].Detail, "/tank/00, /tank/01")
	// A moment after a mount, and of one machine.
	assert.Equal(t, []string{"+200.0 filesystem a: filesystem /srv mounted"}, texts(d.find(Question{From: at(192), To: at(202), Machine: "a"})))
}

// A server that serves a share to many is one event, and so is a network that all checks need.
func TestManyMountsAndChecksAreOne(t *testing.T) {
	d := newData(t)
	for n := range 7 {
		m := fmt.Sprintf("m%d", n)
		for point, from := range map[string]int{"/": 0, "/share": 100 + n} {
			d.series(labels.FromStrings("__name__", mounted, "job", "node", "machine", m, "mountpoint", point, "device", point, "fstype", "nfs4"), 300, during(from, 900, 0))
		}
		d.series(labels.FromStrings("__name__", "ALERTS", "alertname", "CheckFailing", "alertstate", "firing", "severity", "warning", "check", fmt.Sprintf("site%d", n), "from", "hub"), 300, during(200, 220+n, 1))
	}
	found := d.find(Question{From: at(10), To: at(299)})
	require.Equal(t, []string{"+100.0 filesystem : filesystem /share mounted: 7 machines", "+200.0 check : 7 checks failed until +226.0"}, texts(found))
	assert.Equal(t, 7, found[0].Count)
	assert.Contains(t, found[0].Detail, "site6")
	assert.Equal(t, []string{"+226.0 check : check site6 recovered"}, texts(d.find(Question{From: at(226), To: at(299), Kinds: []string{KindCheck}})))
}

// Over days not everything is read, and the same is found as in what is read as a whole.
func TestDays(t *testing.T) {
	const days = 4 * 24 * 60
	origin := begin.AddDate(0, 0, -30)
	sec := func(minute int) float64 { return unix(origin) + 60*float64(minute) }
	d := newData(t)
	type stored struct {
		labels labels.Labels
		v      func(int) float64
	}
	var all []stored
	add := func(ls labels.Labels, v func(int) float64) { all = append(all, stored{ls, v}) }
	at := func(part float64) int { return int(part * days) }
	for n := range 4 {
		m := fmt.Sprintf("m%d", n)
		of := func(name string, more ...string) labels.Labels {
			return labels.FromStrings(append([]string{"__name__", name, "job", "node", "machine", m}, more...)...)
		}
		first := at(0.2 * float64(n+1))
		away := func(v func(int) float64) func(int) float64 { // one is off for hours, twice
			return func(i int) float64 {
				if n == 2 && (i > first-700 && i < first || i > days-900 && i < days-200) {
					return gap
				}
				return v(i)
			}
		}
		step := func(at int, old, now float64) func(int) float64 {
			return away(func(i int) float64 {
				if i < at {
					return old
				}
				return now
			})
		}
		add(of("node_boot_time_seconds"), away(func(i int) float64 {
			switch {
			case i < first:
				return sec(-5000)
			case i < days-200:
				return sec(first - 1)
			}
			return sec(days - 201)
		}))
		add(of("clanmon_nixos_generation", "which", "current"), step(first+50, 41, 42))
		add(of(mounted, "mountpoint", "/", "device", "/dev/sda1", "fstype", "ext4"), away(always(0)))
		if n > 0 {
			add(of(mounted, "mountpoint", "/srv", "device", "/dev/sdb1", "fstype", "ext4"), away(during(first+300, days-70, 0)))
		}
	}
	for i := 0; i < days; i += 30 { // the head takes nothing that is older than an hour
		app := d.store.Appender(t.Context())
		for _, s := range all {
			for j := i; j < min(i+30, days); j++ {
				if v := s.v(j); v != gap {
					_, err := app.Append(0, s.labels, origin.Add(time.Duration(j)*time.Minute).UnixMilli(), v)
					require.NoError(t, err)
				}
			}
		}
		require.NoError(t, app.Commit())
	}
	q := Question{From: origin.Add(3 * time.Hour), To: origin.Add(days * time.Minute), Kinds: []string{KindReboot, KindSystem, KindFilesystem}}
	var want []string
	for n := range 4 {
		one := q
		one.Machine = fmt.Sprintf("m%d", n)
		want = append(want, texts(d.find(one))...)
	}
	require.Len(t, want, 18)
	assert.ElementsMatch(t, want, texts(d.find(q)))
}

// The same with what happens by chance, of all kinds that are read by moments. What comes and goes
// again lasts longer than the time from one moment to the next.
func TestDaysByChance(t *testing.T) {
	const days = 4 * 24 * 60
	origin := begin.AddDate(0, 0, -30)
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 19))
			d := &data{t, teststorage.New(t, func(o *tsdb.Options) { o.OutOfOrderTimeWindow = 2 * days * time.Minute.Milliseconds() })}
			type stored struct {
				labels labels.Labels
				v      func(int) float64
			}
			var all []stored
			for n := range 5 {
				m := fmt.Sprintf("m%d", n)
				var off []int // pairs of minutes
				for range random.IntN(3) {
					from := random.IntN(days)
					off = append(off, from, from+1+random.IntN(1500))
				}
				add := func(v func(int) float64, name string, more ...string) {
					ls := labels.FromStrings(append([]string{"__name__", name, "job", "node", "machine", m, "instance", m + ":9100"}, more...)...)
					all = append(all, stored{ls, func(i int) float64 {
						for k := 0; k < len(off); k += 2 {
							if i >= off[k] && i < off[k+1] {
								return gap
							}
						}
						return v(i)
					}})
				}
				add(always(1), "up")
				// A value that is another one from some minutes on.
				var steps []int
				for at := random.IntN(2000); at < days; at += 800 + random.IntN(2500) {
					steps = append(steps, at)
				}
				nth := func(i int) (k int) {
					for k < len(steps) && i >= steps[k] {
						k++
					}
					return k
				}
				add(func(i int) float64 {
					if k := nth(i); k > 0 {
						return unix(origin) + 60*float64(steps[k-1]) - 30
					}
					return unix(origin) - 5000
				}, "node_boot_time_seconds")
				add(func(i int) float64 { return 41 + float64(nth(i)) }, "clanmon_nixos_generation", "which", "current")
				for k := range len(steps) + 1 {
					is := func(i int) float64 {
						if nth(i) == k {
							return 1
						}
						return gap
					}
					add(is, "clanmon_nixos_system_info", "revision", fmt.Sprint("rev", k), "kernel", fmt.Sprint("6.", k))
					add(is, uname, "release", fmt.Sprint("6.", k))
					add(is, "clanmon_build_info", "version", fmt.Sprint("1.", k))
				}
				add(always(0), mounted, "mountpoint", "/", "device", "/dev/sda1", "fstype", "ext4")
				for k := range 2 {
					from := random.IntN(days)
					to := from + 800 + random.IntN(3000)
					add(func(i int) float64 {
						if i < from || i >= to {
							return gap
						}
						return 0
					}, mounted, "mountpoint", fmt.Sprint("/srv", k), "device", "/dev/sdb1", "fstype", "ext4")
				}
			}
			write := func(some []stored) {
				for i := 0; i < days; i += 30 { // the head takes nothing in order that is older than an hour
					app := d.store.Appender(t.Context())
					for _, s := range some {
						for j := i; j < min(i+30, days); j++ {
							if v := s.v(j); v != gap {
								_, err := app.Append(0, s.labels, origin.Add(time.Duration(j)*time.Minute).UnixMilli(), v)
								require.NoError(t, err)
							}
						}
					}
					require.NoError(t, app.Commit())
				}
			}
			q := Question{From: origin.Add(3 * time.Hour), To: origin.Add(days * time.Minute), Kinds: []string{KindReboot, KindSystem, KindExporter, KindFilesystem}}
			e := New(Options{Store: d.store, Blocks: func() (all []tsdb.BlockReader, leave func(), err error) {
				for _, b := range d.store.Blocks() {
					all = append(all, b)
				}
				return all, func() {}, nil
			}})
			ask := func(q Question) []string {
				q.Limit = 1000
				a, err := e.Find(t.Context(), q)
				require.NoError(t, err)
				return texts(a.Events)
			}
			// One machine's samples arrive after others were looked at and remembered.
			late := slices.IndexFunc(all, func(s stored) bool { return s.labels.Get("machine") == "m4" })
			write(all[:late])
			require.NoError(t, d.store.Compact(t.Context()))
			require.NotEmpty(t, d.store.Blocks())
			other := q
			other.From = other.From.Add(17 * time.Minute)
			require.NotEmpty(t, ask(other))
			write(all[late:])
			var want []string
			for n := range 5 {
				one := q
				one.Machine = fmt.Sprintf("m%d", n)
				want = append(want, texts(d.find(one))...)
			}
			require.NotEmpty(t, want)
			assert.ElementsMatch(t, want, ask(q))
			assert.ElementsMatch(t, want, ask(q), "of what is remembered")
		})
	}
}

func TestSilences(t *testing.T) {
	all := []Silence{
		{By: "ada", Comment: "new disk", Machine: "a", OnlyMachine: true, Matchers: `{machine="a"}`, Starts: at(30), Ends: at(40)},
		{By: "bob", Matchers: `{alertname="X"}`, Starts: at(50), Ends: time.Now().Add(time.Hour)},
		{By: "eve", Matchers: `{alertname="X"}`, Starts: at(-500), Ends: at(40)},
	}
	e := New(Options{Store: teststorage.New(t), Silences: func(context.Context) []Silence { return all }})
	a, err := e.Find(t.Context(), Question{From: at(0), To: at(600), Limit: 10})
	require.NoError(t, err)
	assert.Equal(t, []string{"+30.0 silence a: silenced by ada until +40.0", `+50.0 silence : silenced by bob: {alertname="X"}`}, texts(a.Events))
	assert.Equal(t, "new disk", a.Events[1].Detail)
}

func TestHandler(t *testing.T) {
	d := newData(t)
	d.series(labels.FromStrings("__name__", "ALERTS", "alertname", "DiskFull", "alertstate", "firing", "severity", "critical", "machine", "a"), 300, during(100, 130, 1))
	h := New(Options{Store: d.store}).Handler()
	get := func(query string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/?"+query, nil))
		return w.Code, w.Body.String()
	}
	between := fmt.Sprintf("from=%.0f&to=%.0f", sec(0), sec(200))
	code, body := get(between)
	require.Equal(t, 200, code, body)
	assert.JSONEq(t, fmt.Sprintf(`{"status":"success","data":{"from":%.0f,"to":%.0f,"leftOut":0,"events":[
		{"time":%.0f,"end":%.0f,"kind":"alert","machine":"a","count":1,"text":"DiskFull","alert":"DiskFull","severity":"critical"}]}}`, sec(0), sec(200), sec(100), sec(130)), body)
	_, body = get(fmt.Sprintf("from=%.0f&to=%s&format=grafana", 1000*sec(0), at(200).Format(time.RFC3339)))
	assert.JSONEq(t, fmt.Sprintf(`[{"time":%.0f,"timeEnd":%.0f,"isRegion":true,"title":"a: DiskFull","text":"","tags":["alert","a","critical"]}]`, 1000*sec(100), 1000*sec(130)), body)
	_, body = get(between + "&machine=b")
	assert.Contains(t, body, `"events":[]`)

	for query, words := range map[string]string{
		"from=yesterday":       `from \"yesterday\": use Unix seconds or a time such as`,
		"to=NaN":               "to ",
		"from=20&to=10":        "is not before",
		"from=1&to=1795824000": "the maximum is 100",
		"kind=reboots":         `kind \"reboots\": use reboot, system`,
		"limit=0":              "use a number from 1 to 5000",
		"format=csv":           "use grafana",
		"overlapping=yes":      "use true or false",
	} {
		code, body = get(query)
		assert.Equal(t, 400, code, query)
		assert.Contains(t, body, words, query)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("PUT", "/", nil))
	assert.Equal(t, 405, w.Code)
	w = httptest.NewRecorder()
	New(Options{}).Handler().ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	assert.Contains(t, w.Body.String(), `"events":[]`)
}

func TestTheImpatientDoNotWait(t *testing.T) {
	e := New(Options{Store: teststorage.New(t)})
	e.turn <- struct{}{}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(context.Canceled)
	_, err := e.Find(ctx, Question{From: at(0), To: at(1), Limit: 1})
	require.ErrorIs(t, err, context.Canceled)
}

// BenchmarkFind is a week of 100 machines, a tenth of what is asked for, with a sample every 15
// seconds: go test -run xxx -bench Find ./server/events
func BenchmarkFind(b *testing.B) {
	store := teststorage.New(b)
	const samples = 7 * 24 * 3600 / 15
	end := begin.Add(samples * 15 * time.Second)
	var all []labels.Labels
	for _, name := range []string{"node_boot_time_seconds", "clanmon_nixos_generation", "clanmon_nixos_system_activated_timestamp_seconds", "up", "machine:first_seen:timestamp_seconds", "node_uname_info", "clanmon_build_info"} {
		for n := range 100 {
			all = append(all, labels.FromStrings("__name__", name, "job", "node", "which", "current", "machine", fmt.Sprintf("m%03d", n), "release", "1", "version", "1"))
		}
	}
	refs := make([]storage.SeriesRef, len(all))
	for i := 0; i < samples; i += 120 {
		app := store.Appender(b.Context())
		for k, ls := range all {
			for j := i; j < min(i+120, samples); j++ {
				var err error
				refs[k], err = app.Append(refs[k], ls, begin.UnixMilli()+int64(j)*15_000, 1.7e9+float64(j/(samples/3)))
				require.NoError(b, err)
			}
		}
		require.NoError(b, app.Commit())
	}
	e := New(Options{Store: store})
	for b.Loop() {
		a, err := e.Find(b.Context(), Question{From: end.Add(-7 * 24 * time.Hour), To: end, Limit: 1000})
		require.NoError(b, err)
		require.NotEmpty(b, a.Events)
	}
}
