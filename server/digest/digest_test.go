package digest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/stretchr/testify/require"
)

// stored evaluates on samples in promtool's notation, which begin at 0.
func stored(t *testing.T, load string) func(context.Context, string, time.Time) (promql.Vector, error) {
	t.Helper()
	storage := promqltest.LoadedStorage(t, load)
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 50_000_000, Timeout: time.Minute, EnableNegativeOffset: true, Parser: parser.NewParser(parser.Options{})})
	return func(ctx context.Context, expr string, at time.Time) (promql.Vector, error) {
		q, err := engine.NewInstantQuery(ctx, storage, nil, expr, at)
		if err != nil {
			return nil, err
		}
		defer q.Close()
		return q.Exec(ctx).Vector()
	}
}

// week is 7 days of 5 minutes.
const week = `load 5m
  up{machine="web1",job="node"} 1x2016
  up{machine="nas",job="node"} 1x1007 0x100 1x908
  up{machine="lap",job="node",availability="intermittent"} 0x2016
  machine:up{machine="web1"} 1x2016
  machine:up{machine="nas"} 1x1007 0x100 1x908
  machine:up{machine="lap"} 0x2016
  ALERTS{alertname="MachineDown",alertstate="firing",severity="critical",machine="nas"} stale _x1009 1x90 stale
  ALERTS{alertname="UnitFailed",alertstate="firing",severity="warning",machine="web1",name="a.service"} stale _x1899 1x200
  ALERTS{alertname="UnitFailed",alertstate="firing",severity="warning",machine="web1",name="b.service"} stale _x1899 1x200
  ALERTS{alertname="CheckFailing",alertstate="firing",severity="warning",check="mail",instance="smtp://x"} stale _x1899 1x10 stale
  ALERTS{alertname="Watchdog",alertstate="firing",severity="none"} 1x2016
  ALERTS{alertname="CertificateChanged",alertstate="firing",severity="info",check="mail"} 1x2016
  ALERTS{alertname="Pending",alertstate="pending",severity="warning",machine="web1"} 1x2016
  volume:free:ratio{machine="nas",instance="nas:9100",device="/dev/sda",fstype="ext4"} 0.19x2016
  volume:free:ratio{machine="web1",instance="web1:9100",device="/dev/vda",fstype="ext4"} 0.4x2016
  volume:full_in:seconds{machine="nas",instance="nas:9100",device="/dev/sda",fstype="ext4"} 1684700-300x2016
  volume:full_in:seconds{machine="web1",instance="web1:9100",device="/dev/vda",fstype="ext4"} 7000000x2016
  node_filesystem_avail_bytes{machine="nas",instance="nas:9100",device="/dev/sda",mountpoint="/data/deep"} 1x2016
  node_filesystem_avail_bytes{machine="nas",instance="nas:9100",device="/dev/sda",mountpoint="/data"} 1x2016
  node_filesystem_avail_bytes{machine="web1",instance="web1:9100",device="/dev/vda",mountpoint="/"} 1x2016
  probe_success{check="mail",from="hub"} 1x1000 0x100 1x916
  probe_success{check="site",from="hub"} 1x2016
  probe_ssl_earliest_cert_expiry{check="site",from="hub"} 1685000x2016
  probe_ssl_earliest_cert_expiry{check="mail",from="hub"} 100000000x2016
  clanmon_reboot_required{machine="web1"} 0x1900 1x116
  clanmon_nixos_kernel_current{machine="nas"} 1x2016
`

var from, to = time.Unix(0, 0), time.Unix(0, 0).Add(7 * 24 * time.Hour)

func TestReportOfAWeek(t *testing.T) {
	backups := []Backup{
		{Name: "home", Machine: "web1", LastSuccess: to.Add(-5 * time.Hour)},
		{Name: "photos", Machine: "nas", LastSuccess: to.Add(-9 * 24 * time.Hour), Bad: true},
		{Name: "new", Bad: true},
	}
	d := New(Options{Query: stored(t, week), Backups: func(context.Context) ([]Backup, error) { return backups, nil }})
	r, err := d.Report(t.Context(), from, to)
	require.NoError(t, err)
	require.Equal(t, "3 machines, 97.49 % uptime, 3 alerts, 2 backups overdue or failed", r.Title)
	require.Equal(t, strings.Join([]string{
		"Machines: 3, up 97.49 % of the time. Lowest: nas 94.99 %",
		"Alerts: 3 fired: MachineDown on nas, CheckFailing on mail, UnitFailed on web1",
		"Still firing: UnitFailed on web1",
		"Disks: full in 12 days: /data on nas (81 % full)",
		"Backups: 2 of 3 late or failed: new (never succeeded), photos on nas (last success 9 days ago)",
		"Checks: 2. Lowest uptime: mail 94.99 %",
		"Certificates: site expires in 12 days",
		"Reboot needed: web1",
	}, "\n"), r.Text)
}

// A machine that is down does not say whether its backups run.
func TestBackupsOfMachinesThatAreDown(t *testing.T) {
	known := Backup{Name: "home", Machine: "web1", LastSuccess: to.Add(-5 * time.Hour)}
	down := Backup{Name: "photos", Machine: "nas", LastSuccess: to.Add(-5 * 24 * time.Hour), Unknown: true}
	line := func(all ...Backup) string {
		d := New(Options{Query: stored(t, week), Backups: func(context.Context) ([]Backup, error) { return all, nil }})
		r, err := d.Report(t.Context(), from, to)
		require.NoError(t, err)
		return strings.Split(r.Text, "\n")[4]
	}
	require.Equal(t, "Backups: 1 job, none is late or failed", line(known))
	require.Equal(t, "Backups: 2 jobs, none is known to be late or failed. State unknown: photos on nas (last success 5 days ago)", line(known, down))
	require.Equal(t, "Backups: 1 of 2 late or failed: new (never succeeded). State unknown: old (no success is known)",
		line(Backup{Name: "new", Bad: true}, Backup{Name: "old", Unknown: true}))
}

// Where there is a quota of traffic, those that exceed it are named.
func TestTraffic(t *testing.T) {
	base := `load 5m
  up{machine="web1",job="node"} 1x288
`
	for load, want := range map[string]string{
		"": "",
		`  machine:traffic_quota_used:ratio{machine="a"} 0.5x288
  machine:traffic_quota_used:ratio{machine="b"} 0.75x288
`: "Traffic: all within the monthly quota. Highest: b (75 %), a (50 %)",
		`  machine:traffic_quota_used:ratio{machine="a"} 1.5x288
  machine:traffic_quota_expected:ratio{machine="a"} 2x288
  machine:traffic_quota_used:ratio{machine="b"} 0.75x288
  machine:traffic_quota_expected:ratio{machine="b"} 1.25x288
`: "Traffic: monthly quota exceeded by a (150 %); expected to be exceeded by b (125 %)",
	} {
		r, err := New(Options{Query: stored(t, base+load)}).Report(t.Context(), from, from.Add(24*time.Hour))
		require.NoError(t, err)
		if want == "" {
			require.NotContains(t, r.Text, "Traffic")
		} else {
			require.Contains(t, strings.Split(r.Text, "\n"), want)
		}
	}
}

// What is not known is not mentioned, and what is well in few words.
func TestReportOfAQuietDay(t *testing.T) {
	load := `load 5m
  up{machine="web1",job="node"} 1x288
  machine:up{machine="web1"} 1x288
`
	d := New(Options{Query: stored(t, load), Backups: func(context.Context) ([]Backup, error) { return nil, nil }})
	r, err := d.Report(t.Context(), from, from.Add(24*time.Hour))
	require.NoError(t, err)
	require.Equal(t, Report{"1 machine, 100 % uptime, 0 alerts", "Machines: 1, up 100 % of the time\nAlerts: none fired"}, r)
	d.opts.NoRules = true
	r, err = d.Report(t.Context(), from, from.Add(24*time.Hour))
	require.NoError(t, err)
	require.Equal(t, Report{"1 machine, 100 % uptime", "Machines: 1, up 100 % of the time\nAlerts: there are no alerting rules"}, r)

	// Without the built-in rules.
	d = New(Options{Query: stored(t, "load 5m\n  up{machine=\"web1\",job=\"a\"} 1x288\n  up{machine=\"web1\",job=\"b\"} 0x144 1x144\n")})
	r, err = d.Report(t.Context(), from, from.Add(24*time.Hour))
	require.NoError(t, err)
	require.Contains(t, r.Text, "Machines: 1, up 75 %")

	// Disks with room, checks and certificates without a problem, many machines.
	load += `  volume:free:ratio{machine="web1",instance="i",device="tank",pool="tank"} 0.7x288
  probe_success{check="site",from="hub"} 1x288
  probe_ssl_earliest_cert_expiry{check="site",from="hub"} 100000000x288
`
	for _, name := range strings.Fields("a b c d e f g h") {
		load += "  clanmon_reboot_required{machine=\"" + name + "\"} 1x288\n"
	}
	r, err = New(Options{Query: stored(t, load)}).Report(t.Context(), from, from.Add(24*time.Hour))
	require.NoError(t, err)
	require.Equal(t, strings.Join([]string{
		"Machines: 1, up 100 % of the time",
		"Alerts: none fired",
		"Disks: none will be full within 60 days. Fullest: pool tank on web1 (30 % full)",
		"Checks: 1, up all the time",
		"Certificates: 1, all valid for more than 60 days",
		"Reboot needed: a, b, c, d, e, f, and 2 more",
	}, "\n"), r.Text)
}

// A server that was away does not know how the machines were then.
func TestReportOfATimeWithAGap(t *testing.T) {
	r, err := New(Options{Query: stored(t, "load 5m\n  up{machine=\"web1\",job=\"node\"} 1x71 _x71 1x144\n")}).Report(t.Context(), from, from.Add(24*time.Hour))
	require.NoError(t, err)
	require.Contains(t, r.Text, "Machines: 1, up 100 % of the time while this server ran (18 hours of 24 hours)\n")
}

// A server with nothing but the name of a backup has nothing to say yet.
func TestABackupThatNeverRanIsNoReport(t *testing.T) {
	report := func(b Backup) error {
		d := New(Options{Query: stored(t, "load 5m\n  x 1\n"), Backups: func(context.Context) ([]Backup, error) { return []Backup{b}, nil }})
		_, err := d.Report(t.Context(), from, to)
		return err
	}
	require.ErrorIs(t, report(Backup{Name: "photos"}), ErrNothing)
	require.ErrorIs(t, report(Backup{Name: "photos", LastSuccess: to.Add(time.Hour)}), ErrNothing, "of a later time")
	require.NoError(t, report(Backup{Name: "photos", LastSuccess: to.Add(-time.Hour)}))
}

func TestNothingToReport(t *testing.T) {
	_, err := New(Options{Query: stored(t, "load 5m\n  up{job=\"prometheus\"} 1x288\n")}).Report(t.Context(), from, from.Add(24*time.Hour))
	require.ErrorIs(t, err, ErrNothing)
	broken := errors.New("the store is closed")
	_, err = New(Options{Query: func(context.Context, string, time.Time) (promql.Vector, error) { return nil, broken }}).Report(t.Context(), from, to)
	require.ErrorIs(t, err, broken)
	_, err = New(Options{Query: stored(t, week), Backups: func(context.Context) ([]Backup, error) { return nil, broken }}).Report(t.Context(), from, to)
	require.ErrorIs(t, err, broken)
}
