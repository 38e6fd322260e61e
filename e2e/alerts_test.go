package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/mail"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
	"github.com/clanmon/clanmon/e2e/oracle"
)

// hook is a receiver that speaks Alertmanager's webhook format.
type hook struct {
	URL string

	mu   sync.Mutex
	got  []notification
	code int // of the answer, 200 if 0
}

type notification struct {
	at     time.Time // when it arrived
	Status string
	Alerts []struct {
		Status              string
		Labels, Annotations map[string]string
	}
}

func newHook(t *testing.T, l net.Listener) *hook {
	t.Helper()
	h := &hook{URL: "http://" + l.Addr().String() + "/s3cret"}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var n notification
		_ = json.NewDecoder(r.Body).Decode(&n)
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.code != 0 {
			w.WriteHeader(h.code)
			return
		}
		n.at = time.Now()
		h.got = append(h.got, n)
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close() })
	return h
}

func localHook(t *testing.T) *hook {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return newHook(t, l)
}

func (h *hook) answer(code int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.code = code
}

// told are the alerts of a status that arrived, as NAME/MACHINE/UNIT each.
func (h *hook) told(status string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []string
	for _, n := range h.got {
		for _, a := range n.Alerts {
			if a.Status == status {
				all = append(all, strings.TrimRight(a.Labels["alertname"]+"/"+a.Labels["machine"]+"/"+a.Labels["name"], "/"))
			}
		}
	}
	return all
}

func (h *hook) wait(t *testing.T, limit time.Duration, status, alert string) {
	t.Helper()
	harness.Eventually(t, limit, func() error {
		for _, a := range h.told(status) {
			if a == alert {
				return nil
			}
		}
		return fmt.Errorf("not told that %s is %s: %+v", alert, status, h.got)
	})
}

func (h *hook) config(more string) string {
	return "route: {receiver: people, group_by: [alertname], group_wait: 500ms, group_interval: 1s}\n" +
		"receivers: [{name: people, webhook_configs: [{url: '" + h.URL + "'}]}]\n" + more
}

// rule is a configuration with one alert of one's own, on the time of the server.
func rule(expr string) (config string, files map[string]string) {
	return "global: {scrape_interval: 500ms, evaluation_interval: 500ms}\nrule_files: [rules.yml]\n",
		map[string]string{"rules.yml": "groups:\n- name: mine\n  rules:\n  - alert: Mine\n    expr: " + expr + "\n    labels: {machine: m}\n"}
}

// The way that matters: a unit fails on a machine, and somebody is told; it is
// repaired, and they are told again. The shipped rules, as they are but for what
// keeps a person from being told too early.
func TestAFailedUnitIsTold(t *testing.T) {
	t.Parallel()
	b := harness.NewBox(t)
	b.Exec("systemctl", "start", "clanmon-exporter.service")
	host := b.Host()
	h := newHook(t, host.Listen(t, "127.0.0.1:0"))
	s := harness.StartServer(t, harness.ServerOptions{
		Host: host, Listen: "127.0.0.1:9090", Config: "global: {scrape_interval: 1s}",
		Args: []string{
			"--discovery.static=node=box@127.0.0.1", "--discovery.static=systemd=box@127.0.0.1",
			"--rules.set=UnitFailed.for=0s", "--rules.set=MachineNew.seconds=0",
			// They count in the kernel, which the box shares with other tests: one lets a service run out of memory.
			"--rules.disable=OomKill", "--rules.disable=KernelHungTask",
			"--alertmanager.config.file=" + harness.WriteFile(t, t.TempDir(), "am.yml", h.config("")),
		},
	})
	_, err := b.Try("systemctl", "start", "t-fail.service")
	require.Error(t, err)
	const alert = "JobFailed/box/t-fail.service" // with the settings of UnitFailed
	h.wait(t, 5*time.Minute, "firing", alert)
	require.Contains(t, s.Get("/api/v2/alerts").Body, "t-fail.service")
	b.Exec("systemctl", "reset-failed", "t-fail.service")
	h.wait(t, 5*time.Minute, "resolved", alert)
	for _, a := range h.told("firing") {
		// Watchdog holds MachineNew back, but not if it fires later than a group waits here. The
		// machine of the server itself is new too.
		require.True(t, a == alert || a == "Watchdog" || strings.HasPrefix(a, "MachineNew/"), "%s fires beside it", a)
	}
}

// Killed after an alert fired and before it was sent: it arrives nonetheless, and
// what had been sent is not sent again.
func TestKilledBeforeDelivery(t *testing.T) {
	t.Parallel()
	h := localHook(t)
	h.answer(http.StatusServiceUnavailable)
	config, files := rule("vector(1)")
	am := harness.WriteFile(t, t.TempDir(), "am.yml", h.config(""))
	o := harness.ServerOptions{Config: config, Files: files, Data: t.TempDir(), Args: []string{"--alertmanager.config.file=" + am, "--rules.alert.resend-delay=1s"}}
	s := harness.StartServer(t, o)
	harness.Eventually(t, harness.Patience, func() error {
		if a := s.Get("/api/v2/alerts"); !strings.Contains(a.Body, "Mine") {
			return fmt.Errorf("alerts: %s", a.Body)
		}
		return nil
	})
	s.Kill()
	h.answer(0)
	s = harness.StartServer(t, o)
	h.wait(t, harness.Patience, "firing", "Mine/m")
	logged(t, o.Data, "Mine")
	require.Equal(t, 0, s.Terminate())
	s = harness.StartServer(t, o)
	harness.Eventually(t, harness.Patience, func() error {
		if a := s.Get("/api/v2/alerts/groups"); !strings.Contains(a.Body, "Mine") {
			return fmt.Errorf("groups: %s", a.Body)
		}
		return nil
	})
	rest := time.Now().Add(3 * time.Second) // three times its group's interval
	harness.Eventually(t, harness.Patience, func() error {
		if time.Now().Before(rest) {
			return fmt.Errorf("waiting for a second notification")
		}
		return nil
	})
	require.Len(t, h.told("firing"), 1)
}

// logged waits until the notification log on the disk has these alerts: that is a moment
// after the receiver has them.
func logged(t *testing.T, data string, alerts ...string) {
	t.Helper()
	harness.Eventually(t, harness.Patience, func() error {
		text, err := os.ReadFile(filepath.Join(data, "alertmanager", "nflog"))
		for _, a := range alerts {
			if err == nil && !strings.Contains(string(text), a) {
				err = fmt.Errorf("%s is not in the notification log: %q", a, text)
			}
		}
		return err
	})
}

// amtool, Alertmanager's own command, works against the server.
func TestAmtool(t *testing.T) {
	t.Parallel()
	h := localHook(t)
	config, files := rule("vector(1)")
	s := harness.StartServer(t, harness.ServerOptions{Config: config, Files: files, Args: []string{
		"--alertmanager.config.file=" + harness.WriteFile(t, t.TempDir(), "am.yml", h.config("")),
	}})
	amtool := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(oracle.Path(t, "amtool"), append([]string{"--alertmanager.url=" + s.URL}, args...)...).CombinedOutput()
		require.NoError(t, err, "amtool %v: %s", args, out)
		return string(out)
	}
	h.wait(t, harness.Patience, "firing", "Mine/m")
	require.Contains(t, amtool("alert", "query"), "Mine")
	id := strings.TrimSpace(amtool("silence", "add", "alertname=Mine", "--comment=c", "--author=me", "--duration=1h"))
	require.Contains(t, amtool("silence", "query"), id)
	require.Contains(t, amtool("alert", "query", "--silenced"), "Mine")
	require.NotContains(t, amtool("alert", "query"), "Mine")
	amtool("silence", "expire", id)
	require.NotContains(t, amtool("silence", "query"), id)
	require.Contains(t, amtool("cluster", "show"), "disabled")
	shown := amtool("config", "show")
	require.Contains(t, shown, "receiver: people")
	for _, text := range []string{shown, s.Get("/api/v2/status").Body, s.Get("/api/v1/status/flags").Body, s.Get("/api/v1/status/config").Body, s.Log()} {
		require.NotContains(t, text, "s3cret")
	}
	require.Contains(t, amtool("config", "routes", "test", "alertname=Mine"), "people")
}

// Without a file: a flag is enough to be told, and a command to try it.
func TestNotifyFlagAndTest(t *testing.T) {
	t.Parallel()
	h := localHook(t)
	url := "--notify=webhook+" + h.URL
	out, err := exec.Command(harness.Clanmon(t), "notify-test", url).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Len(t, h.told("firing"), 1)
	require.NotContains(t, string(out), "s3cret")

	config, files := rule("vector(1)")
	s := harness.StartServer(t, harness.ServerOptions{Config: config, Files: files, Args: []string{url}})
	out, err = exec.Command(harness.Clanmon(t), "notify-test", "--server="+s.URL).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Len(t, slices.DeleteFunc(h.told("firing"), func(a string) bool { return a == "Mine/m" }), 2)
	h.wait(t, 2*harness.Patience, "firing", "Mine/m")

	h.answer(http.StatusTeapot)
	require.EventuallyWithT(t, func(c *assert.CollectT) { // one test in 30 s
		out, err = exec.Command(harness.Clanmon(t), "notify-test", "--server="+s.URL).CombinedOutput()
		require.Error(c, err)
		require.Contains(c, string(out), "418")
	}, 2*harness.Patience, time.Second)
	require.NotContains(t, string(out)+s.Log()+s.Get("/api/clanmon/v1/receivers").Body, "s3cret")
}

// A mail, by a server that speaks as much SMTP as it takes: a stand-in.
func TestNotifyByMail(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	mails := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		conn := textproto.NewConn(c)
		_ = conn.PrintfLine("220 stand-in")
		for {
			line, err := conn.ReadLine()
			if err != nil {
				return
			}
			switch word, _, _ := strings.Cut(line, " "); strings.ToUpper(word) {
			case "DATA":
				_ = conn.PrintfLine("354 go on")
				text, _ := conn.ReadDotBytes()
				mails <- string(text)
				_ = conn.PrintfLine("250 taken")
			case "QUIT":
				_ = conn.PrintfLine("221 bye")
				return
			default:
				_ = conn.PrintfLine("250 ok")
			}
		}
	}()
	out, err := exec.Command(harness.Clanmon(t), "notify-test", "--notify=mailto:me@example.org?from=clanmon@example.org&smarthost="+l.Addr().String()).CombinedOutput()
	require.NoError(t, err, "%s", out)
	mail, err := mail.ReadMessage(strings.NewReader(<-mails))
	require.NoError(t, err)
	require.Equal(t, "me@example.org", mail.Header.Get("To"))
	require.Equal(t, "clanmon@example.org", mail.Header.Get("From"))
	require.NotEmpty(t, mail.Header.Get("Subject"))
}

// What is wrong is refused with its place, by check, at start and at reload.
func TestWrongAlertmanagerFile(t *testing.T) {
	t.Parallel()
	h := localHook(t)
	dir := t.TempDir()
	file := harness.WriteFile(t, dir, "am.yml", h.config(""))
	config, files := rule("vector(1)")
	s := harness.StartServer(t, harness.ServerOptions{Config: config, Files: files, Args: []string{"--alertmanager.config.file=" + file, "--web.enable-lifecycle"}})
	harness.WriteFile(t, dir, "am.yml", "route: {receiver: nobody}\nreceivers: [{name: people}]\n")
	a := s.Post("/-/reload", "", "")
	require.Equal(t, 500, a.Status)
	require.Contains(t, a.Body, "nobody")
	h.wait(t, harness.Patience, "firing", "Mine/m")
	out, err := exec.Command(harness.Clanmon(t), "check", "alertmanager", file).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "nobody")
	launched := harness.LaunchServer(t, harness.ServerOptions{Args: []string{"--alertmanager.config.file=" + file}})
	require.Equal(t, 2, launched.Wait())
	require.Contains(t, launched.Log(), "nobody")
}

// Two servers with the same alerts: people are told once. When the one that told
// them is gone, the other goes on.
func TestAPairTellsOnce(t *testing.T) {
	t.Parallel()
	h := localHook(t)
	am := harness.WriteFile(t, t.TempDir(), "am.yml", h.config(""))
	config, files := rule("vector(1)")
	gossip := [2]string{harness.Address(t), harness.Address(t)}
	var pair [2]*harness.Server
	for i := range pair {
		// As Thanos and Mimir want it.
		config := strings.Replace(config, "500ms}", fmt.Sprintf("500ms, external_labels: {replica: r%d}}", i), 1)
		pair[i] = harness.LaunchServer(t, harness.ServerOptions{Config: config, Files: files, Args: []string{
			"--alertmanager.config.file=" + am, "--rules.alert.resend-delay=1s",
			"--cluster.listen-address=" + gossip[i], "--cluster.peer=" + gossip[1-i], "--cluster.peer-timeout=10s", "--cluster.settle-timeout=10s",
		}})
	}
	for _, s := range pair {
		s.WaitReady()
		harness.Eventually(t, harness.Patience, func() error { return atLeast(strings.Count(s.Get("/api/v2/status").Body, `"address"`), 2) })
	}
	h.wait(t, harness.Patience, "firing", "Mine/m")
	quiet := time.Now().Add(13 * time.Second) // longer than the second waits for the first
	harness.Eventually(t, harness.Patience, func() error {
		if time.Now().Before(quiet) {
			return fmt.Errorf("waiting for a second notification")
		}
		return nil
	})
	require.Len(t, h.told("firing"), 1)

	// A silence made at one is in force at the other.
	req, err := http.NewRequest(http.MethodPost, pair[0].URL+"/api/v2/silences", strings.NewReader(fmt.Sprintf(
		`{"matchers":[{"name":"alertname","value":"Mine","isRegex":false}],"startsAt":%q,"endsAt":%q,"createdBy":"me","comment":"c"}`,
		time.Now().UTC().Format(time.RFC3339), time.Now().Add(time.Hour).UTC().Format(time.RFC3339))))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	text, _ := io.ReadAll(res.Body)
	require.NoError(t, res.Body.Close())
	require.Equal(t, 200, res.StatusCode, "%s", text)
	harness.Eventually(t, harness.Patience, func() error {
		if a := pair[1].Get("/api/v2/silences"); !strings.Contains(a.Body, `"me"`) {
			return fmt.Errorf("silences: %s", a.Body)
		}
		return nil
	})
}

// exporterStandIn answers every scrape with text, until it is cut off.
func exporterStandIn(t *testing.T, text string) (address string, cut func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) })}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close() })
	return l.Addr().String(), func() { s.Close() }
}

// All machines at once do not answer: one alert, and none for each of them. A
// machine that is new sends no warnings.
func TestACutNetworkIsOneAlert(t *testing.T) {
	t.Parallel()
	h := localHook(t)
	const machines = 5
	args := []string{
		"--alertmanager.config.file=" + harness.WriteFile(t, t.TempDir(), "am.yml", h.config("")),
		// In the order in which they fire, in less time.
		"--rules.set=FleetUnreachable.for=5s", "--rules.set=MachineDown.for=10s", "--rules.set=FileHandlesAlmostGone.for=0s",
	}
	var cuts []func()
	for i := range machines {
		address, cut := exporterStandIn(t, "node_filefd_allocated 99\nnode_filefd_maximum 100\n")
		cuts = append(cuts, cut)
		args = append(args, fmt.Sprintf("--discovery.static=node=m%d@%s", i, address))
	}
	s := harness.StartServer(t, harness.ServerOptions{Config: "global: {scrape_interval: 1s, scrape_timeout: 1s}", Args: args})
	held := func(name string) {
		t.Helper()
		harness.Eventually(t, 3*time.Minute, func() error {
			var alerts []struct {
				Labels map[string]string
				Status struct{ InhibitedBy []string }
			}
			a := s.Get("/api/v2/alerts?filter=alertname%3D" + name)
			if err := json.Unmarshal([]byte(a.Body), &alerts); err != nil {
				return fmt.Errorf("%w: %s", err, a.Body)
			}
			n := 0
			for _, a := range alerts {
				if len(a.Status.InhibitedBy) > 0 {
					n++
				}
			}
			return atLeast(n, machines)
		})
	}
	// What is wrong with machines that are new is told at once.
	for i := range machines {
		h.wait(t, 3*time.Minute, "firing", fmt.Sprintf("FileHandlesAlmostGone/m%d", i))
	}
	for _, cut := range cuts {
		cut()
	}
	h.wait(t, 3*time.Minute, "firing", "FleetUnreachable")
	held("MachineDown")
	for _, a := range h.told("firing") {
		name, _, _ := strings.Cut(a, "/")
		// Watchdog holds MachineNew back, but not if it fires later than a group waits here.
		require.Contains(t, []string{"FileHandlesAlmostGone", "FleetUnreachable", "Watchdog", "MachineNew"}, name)
	}
}

// The built-in rules are for those who let clanmon choose what to scrape.
// Where a configuration file does, nothing fires that nobody wrote.
func TestRulesInTheBinaryOnlyWhereClanmonChooses(t *testing.T) {
	t.Parallel()
	const file = "scrape_configs: [{job_name: x, static_configs: [{targets: ['127.0.0.1:1']}]}]"
	for name, c := range map[string]struct {
		o    harness.ServerOptions
		want bool
	}{
		"drop-in":                 {harness.ServerOptions{Config: file}, false},
		"drop-in, on":             {harness.ServerOptions{Config: file, Args: []string{"--rules.builtin=on"}}, true},
		"discovery":               {harness.ServerOptions{Config: file, Args: []string{"--discovery.static=node=m@127.0.0.1:1"}}, true},
		"discovery, off":          {harness.ServerOptions{Config: file, Args: []string{"--discovery.static=node=m@127.0.0.1:1", "--rules.builtin=off"}}, false},
		"nothing configured":      {harness.ServerOptions{Bare: true}, true},
		"nothing configured, off": {harness.ServerOptions{Args: []string{"--rules.builtin=off"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := harness.StartServer(t, c.o)
			require.Equal(t, c.want, strings.Contains(s.Get("/api/v1/rules").Body, "MachineDown"))
			require.Equal(t, c.want, strings.Contains(s.Get("/api/clanmon/v1/shipped-rules").Body, `"state":"active"`))
		})
	}
	for flag, want := range map[string]string{
		"--rules.disable=MachineDwon":           "MachineDown",
		"--rules.set=FilesystemFull.treshold=1": `did you mean \"threshold\"?`,
		"--rules.set=FilesytemFull.for=1m":      "FilesystemFull",
		"--rules.set=MachineDown.for=soon":      "not a duration",
		"--rules.builtin=atuo":                  "auto",
		"--notify=nfty://ntfy.sh/ops":           "ntfy",
		"--alertmanager.config.file=not-there":  "not-there",
	} {
		s := harness.LaunchServer(t, harness.ServerOptions{Config: file, Args: []string{flag}})
		require.Equal(t, 2, s.Wait(), flag)
		require.Contains(t, s.Log(), want, flag)
	}
}

// What was sent and who is silenced survive a SIGKILL: nobody is told twice.
func TestSigkillForgetsNeitherSilencesNorNotifications(t *testing.T) {
	t.Parallel()
	h := localHook(t)
	config, files := rule("vector(1)")
	files["rules.yml"] += "  - {alert: Hushed, expr: vector(1)}\n"
	o := harness.ServerOptions{Config: config, Files: files, Data: t.TempDir(), Args: []string{
		"--alertmanager.config.file=" + harness.WriteFile(t, t.TempDir(), "am.yml", h.config("")), "--rules.alert.resend-delay=1s",
	}}
	s := harness.StartServer(t, o)
	silence := func(s *harness.Server, name string) {
		t.Helper()
		a := s.Post("/api/v2/silences", "application/json", fmt.Sprintf(
			`{"matchers":[{"name":"alertname","value":%q,"isRegex":false}],"startsAt":%q,"endsAt":%q,"createdBy":"me","comment":"c"}`,
			name, time.Now().UTC().Format(time.RFC3339), time.Now().Add(time.Hour).UTC().Format(time.RFC3339)))
		require.Equal(t, 200, a.Status, a.Body)
	}
	h.wait(t, harness.Patience, "firing", "Mine/m")
	h.wait(t, harness.Patience, "firing", "Hushed")
	silence(s, "Hushed")
	logged(t, o.Data, "Mine", "Hushed")
	s.Kill()
	before := len(h.told("firing"))
	s = harness.StartServer(t, o)
	silence(s, "Later") // and the file is not only readable but goes on
	harness.Eventually(t, harness.Patience, func() error {
		if a := s.Get("/api/v2/alerts/groups"); !strings.Contains(a.Body, "Mine") || !strings.Contains(a.Body, `"suppressed"`) {
			return fmt.Errorf("groups: %s", a.Body)
		}
		return nil
	})
	rest := time.Now().Add(3 * time.Second) // three times its group's interval
	harness.Eventually(t, harness.Patience, func() error {
		if time.Now().Before(rest) {
			return fmt.Errorf("waiting for a second notification")
		}
		return nil
	})
	require.Len(t, h.told("firing"), before, "%v", h.told("firing"))
}
