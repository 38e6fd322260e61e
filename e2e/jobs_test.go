package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

// job is a row of /api/clanmon/v1/jobs, as far as it is looked at here.
type job struct {
	Machine, Name, Kind, Timer, Backup, LastResult, State string
	LastSuccess, Duration, Next, Gap                      *float64
	ExitCode                                              *int
}

// waitJob waits until a job is as wanted, and returns it.
func waitJob(t *testing.T, s *harness.Server, name string, wanted func(job) bool) (found job) {
	t.Helper()
	harness.Eventually(t, harness.Patience, func() error {
		a, err := s.TryGet("/api/clanmon/v1/jobs")
		if err != nil {
			return err
		}
		var answer struct {
			Data struct{ Jobs []job }
		}
		if err := json.Unmarshal([]byte(a.Body), &answer); err != nil {
			return err
		}
		for _, j := range answer.Data.Jobs {
			if j.Name == name && wanted(j) {
				found = j
				return nil
			}
		}
		return fmt.Errorf("%s is not as wanted: %+v", name, answer.Data.Jobs)
	})
	return found
}

// backupUnits are borg as NixOS runs it, a simple service, and restic, a oneshot, each with
// a timer. What is in /tmp/fail or /tmp/hang makes them do so.
const backupUnits = `set -e
mkdir -p /tmp/data /run/systemd/system; echo photo > /tmp/data/photo
borg init -e none /tmp/borg 2>/dev/null || true
RESTIC_PASSWORD=x restic init -q -r /tmp/restic 2>/dev/null || true
cat > /tmp/run.sh <<'END'
#!/bin/sh
[ ! -e /tmp/hang ] || sleep 600
[ ! -e /tmp/fail ] || exit 12
case $1 in
borg) exec borg create /tmp/borg::$(date +%s%N) /tmp/data ;;
restic) RESTIC_PASSWORD=x exec restic backup -q -r /tmp/restic /tmp/data ;;
esac
END
chmod +x /tmp/run.sh
cd /run/systemd/system
printf '[Service]\nEnvironment=HOME=/root\nExecStart=/tmp/run.sh borg\n' > borgbackup-job-home.service
printf '[Service]\nEnvironment=HOME=/root\nType=oneshot\nExecStart=/tmp/run.sh restic\n' > restic-backups-photos.service
for u in borgbackup-job-home restic-backups-photos; do printf "[Timer]\nOnCalendar=*-*-* $(date -d '12 hours' +%H):00:00\n" > $u.timer; done # daily, and not now
systemctl daemon-reload; systemctl start borgbackup-job-home.timer restic-backups-photos.timer
`

// Real backups on a real systemd, seen by a server with its own configuration and the built-in
// rules for jobs, evaluated every second.
func TestBackupsOnARealSystemd(t *testing.T) {
	t.Parallel()
	harness.Tool(t, "borg", "borgbackup")
	harness.Tool(t, "restic", "restic")
	const borg, restic = "borgbackup-job-home.service", "restic-backups-photos.service"
	address := harness.Address(t)
	boot := func() (*harness.Box, *harness.Process) {
		b := harness.NewBox(t)
		b.Exec("sh", "-c", backupUnits)
		return b, harness.Start(t, harness.Command{Args: []string{"exporter", "--exporter=systemd", "--systemd.listen-address=" + address}, Env: []string{b.Bus()}})
	}
	b, exporter := boot()
	_, rules := harness.Run(t, harness.Command{Args: []string{"rules"}})
	begin := strings.Index(rules, "- name: clanmon-jobs\n")
	end := begin + strings.Index(rules[begin:], "- name: clanmon-pressure")
	o := harness.ServerOptions{
		Data:  t.TempDir(),
		Files: map[string]string{"jobs.yml": "groups:\n" + strings.NewReplacer("interval: 5m", "interval: 1s", "interval: 1m", "interval: 1s").Replace(rules[begin:end])},
		Config: fmt.Sprintf(`
global: {scrape_interval: 1s}
rule_files: [jobs.yml]
scrape_configs: [{job_name: systemd, static_configs: [{targets: ["%s"], labels: {machine: box, instance: "box:9558"}}]}]
`, address),
	}
	s := harness.StartServer(t, o)

	waitJob(t, s, borg, func(j job) bool {
		return j.Timer == "borgbackup-job-home.timer" && j.LastSuccess == nil && j.Next != nil
	})
	before := float64(time.Now().Unix())
	b.Exec("systemctl", "start", restic)
	b.Exec("systemctl", "start", borg)
	first := waitJob(t, s, borg, func(j job) bool { return j.State == "ok" && j.LastSuccess != nil && j.LastResult == "success" })
	require.Equal(t, job{Machine: "box", Name: borg, Kind: "timer", Timer: "borgbackup-job-home.timer", Backup: "home", LastResult: "success", State: "ok"},
		job{first.Machine, first.Name, first.Kind, first.Timer, first.Backup, first.LastResult, first.State, nil, nil, nil, nil, nil})
	require.GreaterOrEqual(t, *first.LastSuccess, before)
	require.InDelta(t, 86400, *first.Gap, 3601)
	require.Positive(t, *first.Duration)
	photos := waitJob(t, s, restic, func(j job) bool { return j.State == "ok" && j.LastSuccess != nil })

	// A failure, with its exit code; the last success stays.
	b.Exec("touch", "/tmp/fail")
	_, err := b.Try("systemctl", "start", restic)
	require.Error(t, err)
	failed := waitJob(t, s, restic, func(j job) bool { return j.State == "failed" })
	require.Equal(t, "exit-code", failed.LastResult)
	require.Equal(t, 12, *failed.ExitCode)
	require.Equal(t, *photos.LastSuccess, *failed.LastSuccess)
	s.WaitValue(`count(ALERTS{alertname="JobFailed",name="`+restic+`",result="exit-code"})`, 1)
	b.Exec("systemctl", "reset-failed", restic)
	reset := waitJob(t, s, restic, func(j job) bool { return j.State == "ok" })
	require.Equal(t, *photos.LastSuccess, *reset.LastSuccess, "a failure that was reset is no success")

	// Killed, and stopped by hand, which systemd calls a success of a simple service.
	b.Exec("sh", "-c", "rm /tmp/fail; touch /tmp/hang")
	b.Exec("systemctl", "start", "--no-block", borg)
	waitJob(t, s, borg, func(j job) bool { return j.State == "running" })
	b.Exec("systemctl", "kill", "-s", "KILL", borg)
	killed := waitJob(t, s, borg, func(j job) bool { return j.State == "failed" })
	require.Equal(t, "signal", killed.LastResult)
	require.Equal(t, 137, *killed.ExitCode)
	b.Exec("systemctl", "start", "--no-block", borg)
	waitJob(t, s, borg, func(j job) bool { return j.State == "running" })
	b.Exec("systemctl", "stop", borg)
	stopped := waitJob(t, s, borg, func(j job) bool { return j.LastResult == "stopped" })
	require.Equal(t, *first.LastSuccess, *stopped.LastSuccess)
	require.Equal(t, "ok", stopped.State)

	// A server that is killed knows all of it at once.
	s.Kill()
	s = harness.StartServer(t, o)
	again := waitJob(t, s, borg, func(j job) bool { return j.LastResult == "stopped" })
	require.Equal(t, *first.LastSuccess, *again.LastSuccess)
	s.WaitValue(fmt.Sprintf(`timestamp(up{job="systemd"}) > bool %d`, time.Now().Unix()), 1)

	// After a boot systemd knows of no run.
	exporter.Terminate()
	waitJob(t, s, borg, func(j job) bool { return j.State == "unknown" })
	b, _ = boot()
	booted := waitJob(t, s, borg, func(j job) bool { return j.State == "ok" && j.LastResult == "" })
	require.Equal(t, *first.LastSuccess, *booted.LastSuccess)

	// The timer is disabled: the unit is gone, and its success is not forgotten.
	b.Exec("systemctl", "stop", "borgbackup-job-home.timer")
	gone := waitJob(t, s, borg, func(j job) bool { return j.State == "unknown" })
	require.Equal(t, *first.LastSuccess, *gone.LastSuccess)
	s.WaitValue(`count(job:gone_since:timestamp_seconds{name="`+borg+`"})`, 1)
}

// Pings over HTTP, from clanmon job too, and after the server was killed.
func TestPings(t *testing.T) {
	t.Parallel()
	const token = "00112233445566778899aabbccddeeff"
	dir := t.TempDir()
	file := harness.WriteFile(t, dir, "pings.yml", "pings: {photos: {token: "+token+", every: 1d, machine: nas, backup: true}, cron: {tokenFile: cron}}")
	cron := harness.WriteFile(t, dir, "cron", "cron-cron-cron-cron-cron\n")
	o := harness.ServerOptions{Data: t.TempDir(), Args: []string{"--ping.file=" + file, "--web.writes=off"}}
	s := harness.StartServer(t, o)
	require.Equal(t, http.StatusOK, s.Post("/ping/"+token+"/start", "text/plain", "").Status)
	require.Equal(t, http.StatusOK, s.Post("/ping/"+token+"/7", "text/plain", strings.Repeat("what it printed ", 10000)).Status)
	require.Equal(t, http.StatusNotFound, s.Get("/ping/"+strings.ToUpper(token)).Status)
	s.WaitValue(`clanmon_ping_last_exit_code{job="ping",name="photos",machine="nas",result="exit-code"}`, 7)
	s.Kill()
	s = harness.StartServer(t, o)
	waitJob(t, s, "photos", func(j job) bool {
		return j.State == "failed" && *j.ExitCode == 7 && j.Backup == "photos" && j.Kind == "ping"
	})

	code, out := harness.Run(t, harness.Command{Args: []string{"job", "--server", s.URL, "--token-file", cron, "cron", "--", "sh", "-c", "echo done; exit 3"}})
	require.Equal(t, 3, code)
	require.Equal(t, "done\n", out)
	waitJob(t, s, "cron", func(j job) bool {
		return j.State == "failed" && *j.ExitCode == 3 && j.Kind == "job" && j.Duration != nil
	})
	// A signal is the command's.
	p := harness.Start(t, harness.Command{Args: []string{"job", "--server", s.URL, "--token-file", cron, "cron", "--", "sh", "-c", "trap 'exit 0' TERM; echo trapped; while :; do sleep .05; done"}})
	p.WaitLog("trapped")
	waitJob(t, s, "cron", func(j job) bool { return j.State == "running" })
	require.Equal(t, 0, p.Terminate())
	waitJob(t, s, "cron", func(j job) bool { return j.State == "ok" && *j.ExitCode == 0 })

	for _, secret := range []string{token, "cron-cron", "what it printed"} {
		require.NotContains(t, s.Log(), secret)
		require.NotContains(t, s.Get("/api/v1/status/config").Body+s.Get("/api/v1/status/flags").Body+s.Get("/metrics").Body, secret)
	}
	require.NoError(t, os.WriteFile(file, []byte("pings: {cron: {token: short}}"), 0o600))
	code, out = harness.Run(t, harness.Command{Args: []string{"server", "--ping.file=" + file, "--storage.tsdb.path=" + t.TempDir()}})
	require.NotZero(t, code)
	require.Contains(t, out, "pings.cron: the token must be 22 to 128 letters")
	require.NotContains(t, out, "short")
}
