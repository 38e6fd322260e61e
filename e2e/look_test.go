package e2e

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

// lookAt asks the exporter of a box as a server does.
func lookAt(b *harness.LookBox, certificate, request string) (string, error) {
	return b.Try("curl", "-sS", "-m", "30", "--cacert", "/etc/pki/ca.pem", "--cert", "/etc/pki/"+certificate+".pem", "--key", "/etc/pki/"+certificate+".key",
		"-d", request, "https://127.0.0.1:9100/look")
}

// crash has a unit fail, which says why.
func crash(t *testing.T, b *harness.LookBox) {
	t.Helper()
	_, err := b.Try("systemctl", "start", "t-crash.service")
	require.Error(t, err, "a unit that fails")
	harness.Eventually(t, harness.Patience, func() error {
		if !strings.Contains(b.Exec("journalctl", "-q", "--no-pager", "-u", "t-crash.service"), "disk I/O error") {
			return errors.New("not in the journal yet")
		}
		return nil
	})
}

func matches(pattern, text string) error {
	if !regexp.MustCompile(pattern).MatchString(text) {
		return fmt.Errorf("no %s in %s", pattern, text)
	}
	return nil
}

// The journal of a unit that failed and the processes of a machine with a real systemd,
// through the package's units.
func TestLookOnARealSystemd(t *testing.T) {
	t.Parallel()
	b := harness.NewLookBox(t, "")
	crash(t, b)
	b.Exec("sh", "-c", `printf 'red \033[31m\n' | systemd-cat -t hostile`)

	text, err := lookAt(b, harness.LookServer, `{"kind":"journal","unit":"t-crash.service","lines":200,"by":"alice"}`)
	require.NoError(t, err)
	require.Contains(t, text, `"MESSAGE":"cannot open the database: disk I/O error"`)
	require.Contains(t, text, `{"end":{}}`)
	harness.Eventually(t, harness.Patience, func() error {
		text, err = lookAt(b, harness.LookServer, `{"kind":"journal","lines":200,"grep":"^red","by":"alice"}`)
		if err == nil && !strings.Contains(text, `"MESSAGE":"red ␛[31m"`) {
			err = fmt.Errorf("%s", text)
		}
		return err
	})
	text, err = lookAt(b, harness.LookServer, `{"kind":"processes","by":"alice"}`)
	require.NoError(t, err)
	require.Contains(t, text, `"unit":"clanmon-exporter.service"`)
	require.Contains(t, text, `"name":"systemd"`)

	_, err = lookAt(b, "web2", `{"kind":"processes"}`)
	require.Error(t, err, "a certificate of the same authority")
	text, err = lookAt(b, harness.LookServer, `{"kind":"journal","unit":"--file=/etc/shadow","lines":5}`)
	require.NoError(t, err)
	require.Contains(t, text, `unit "--file=/etc/shadow": it must be the name of a unit`)

	// Both processes of the machine say who asked, and no request leaves a failed unit behind.
	for _, unit := range []string{"clanmon-exporter.service", "clanmon-look.service"} {
		harness.Eventually(t, harness.Patience, func() error { // the journal has it a moment later
			return matches(`msg="Looked at" .*by="alice via `+harness.LookServer+`" .*kind=processes`, b.Exec("journalctl", "--no-pager", "-q", "-o", "cat", "-u", unit))
		})
	}
	require.Equal(t, "1\n", b.Exec("sh", "-c", "journalctl --no-pager -q -o json --output-fields=_PID -u clanmon-look.service -g 'Looked at' | grep -o '\"_PID\":\"[0-9]*\"' | sort -u | wc -l"), "one process answered all")
	require.NotContains(t, b.Exec("systemctl", "list-units", "--failed", "--plain", "--no-legend"), "clanmon-look")

	// What the machine lacks is said in words.
	refused := func(unit, override, want string) {
		t.Helper()
		b.Exec("sh", "-ec", `mkdir -p /etc/systemd/system/`+unit+`.d; printf '`+override+`' > /etc/systemd/system/`+unit+`.d/t.conf; systemctl daemon-reload; systemctl restart clanmon-exporter.service`)
		text, err := lookAt(b, harness.LookServer, `{"kind":"journal","unit":"t-crash.service","lines":5}`)
		require.NoError(t, err)
		require.Contains(t, text, want)
		b.Exec("rm", "/etc/systemd/system/"+unit+".d/t.conf")
	}
	refused("clanmon-look.service", `[Service]\nSupplementaryGroups=\nUser=nobody\nGroup=nogroup\n`, "must be in the group systemd-journal")
	refused("clanmon-look.service", `[Service]\nTemporaryFileSystem=/var/log /run/log\n`, "this machine keeps no journal")
	b.Exec("systemctl", "stop", "clanmon-look.socket")
	refused("clanmon-look.service", "", "systemctl enable --now clanmon-look.socket")
}

// From the server's API down to the journal of a machine: the operator may, the viewer may not.
func TestLookThroughAServer(t *testing.T) {
	t.Parallel()
	b := harness.NewLookBox(t, "")
	crash(t, b)
	s := b.Server()
	get := func(user, path string) (int, string) {
		t.Helper()
		res, err := b.Client(user).Get(s.URL + path)
		require.NoError(t, err)
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return res.StatusCode, string(text)
	}
	const journal = "/api/clanmon/v1/journal?machine=box&unit=t-crash.service"
	code, text := get(harness.LookOperator, journal)
	require.Equal(t, http.StatusOK, code, text)
	require.Contains(t, text, "cannot open the database: disk I/O error")
	require.Contains(t, text, `"_SYSTEMD_UNIT":"t-crash.service"`)
	code, text = get(harness.LookOperator, "/api/clanmon/v1/processes?machine=box")
	require.Equal(t, http.StatusOK, code, text)
	require.Contains(t, text, `"unit":"clanmon-exporter.service"`)
	for _, path := range []string{journal, "/api/clanmon/v1/processes?machine=box"} {
		code, text = get(harness.LookViewer, path)
		require.Equal(t, http.StatusForbidden, code)
		require.Contains(t, text, "bob")
		require.NotContains(t, text, "database")
	}

	// Each use is logged on both sides, with who asked.
	require.Regexp(t, `msg="Looking at a machine" .*who=alice .*machine=box kind=journal unit=t-crash.service`, s.Log())
	harness.Eventually(t, harness.Patience, func() error {
		return matches(`msg="Looked at" .*by="alice via `+harness.LookServer+`" .*unit=t-crash.service`, b.Exec("journalctl", "--no-pager", "-q", "-o", "cat", "-u", "clanmon-exporter.service"))
	})

	// In a terminal.
	password := harness.WriteFile(t, t.TempDir(), "password", harness.LookPassword)
	run := func(args ...string) (int, string) {
		return harness.Run(t, harness.Command{Path: harness.Clanmon(t), Args: append([]string{"journal", "--server", s.URL, "--ca-file", b.CA(), "--username", harness.LookOperator, "--password-file", password}, args...)})
	}
	code, text = run("box", "t-crash", "-g", "cannot")
	require.Zero(t, code, text)
	require.Regexp(t, `^\w{3} [ \d]\d \d\d:\d\d:\d\d sh\[\d+\]: cannot open the database: disk I/O error\n$`, text)
	code, text = run("box", "no-such")
	require.Zero(t, code, text)
	require.Empty(t, text)
	code, text = run("nowhere")
	require.Equal(t, 1, code)
	require.Contains(t, text, `no machine is named "nowhere"`)

	// Who follows gets new lines; when they leave, journalctl on the machine ends.
	running := func() bool { _, err := b.Try("pgrep", "-x", "journalctl"); return err == nil }
	res, err := b.Client(harness.LookOperator).Get(s.URL + "/api/clanmon/v1/journal?machine=box&follow=true")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, res.StatusCode)
	b.Exec("logger", "-t", "hello", "a new line")
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() && !strings.Contains(lines.Text(), `"MESSAGE":"a new line"`) {
	}
	require.Contains(t, lines.Text(), "a new line")
	require.True(t, running())
	res.Body.Close()
	harness.Eventually(t, harness.Patience, func() error {
		if running() {
			return errors.New("journalctl still runs on the machine")
		}
		return nil
	})
}

// Over a tailnet: the node that is named may look, as a real tailscaled tells the exporter.
func TestLookFromATailnet(t *testing.T) {
	t.Parallel()
	tailnet := harness.NewTailnet(t, "3")
	tailnet.Join("h1", "tag:node")
	tailnet.Join("h2", "tag:server")
	tailnet.JoinAs("h3", "alice")
	tailnet.Reachable()
	program, socket := harness.SmallExporter(t), filepath.Join(t.TempDir(), "s")
	harness.Start(t, harness.Command{
		Path: harness.Tool(t, "systemd-socket-activate", "systemd"), Args: []string{"--listen=" + socket, program, "look"},
	})
	exporter := harness.Start(t, tailnet.Host("h1").Command(t, harness.Command{Path: program, Args: []string{
		"--exporter=node", "--collectors=load", "--look", "--look.from=tag:server",
		"--look.tailscale-socket=" + tailnet.Socket("h1"), "--look.socket=" + socket,
	}}))
	look := func(from, address string) (int, string) {
		return send(t, tailnet.Host(from).Client(), http.MethodPost, "http://"+address+":9100/look", `{"kind":"processes","by":"alice"}`)
	}
	harness.Eventually(t, harness.Patience, func() error {
		res, err := tailnet.Host("h1").Client().Get("http://127.0.0.1:9100/")
		if err == nil {
			res.Body.Close()
		}
		return err
	})
	address := tailnet.Address("h1")
	code, text := look("h2", address)
	require.Equal(t, http.StatusOK, code, text)
	require.Contains(t, text, `{"end":{"total":`)
	harness.Eventually(t, harness.Patience, func() error {
		return matches(`msg="Looked at" .*by="alice via h2\.[^"]+" .*kind=processes`, exporter.Log())
	})
	for from, address := range map[string]string{"h3": address, "h1": "127.0.0.1"} {
		code, text = look(from, address)
		require.Equal(t, http.StatusForbidden, code, text)
		require.Contains(t, text, map[string]string{"h3": "is not one of --look.from", "h1": "127.0.0.1 is not a peer of the tailnet"}[from])
	}
}

// BenchmarkLook compares 200 lines of one unit through clanmon-look.socket with what
// journalctl needs itself, in turns, in a journal of LOOK_LINES lines:
//
//	go test -run='^$' -bench=Look -benchtime=40x ./e2e
func BenchmarkLook(b *testing.B) {
	box := harness.NewLookBox(b, "")
	box.Exec("sh", "-ec", `
		mkdir -p /var/log/journal /etc/systemd/journald.conf.d
		printf '[Journal]\nRateLimitIntervalSec=0\nSystemMaxUse=4G\n' > /etc/systemd/journald.conf.d/t.conf
		systemd-tmpfiles --create --prefix /var/log/journal
		systemctl restart systemd-journald.service
		journalctl --flush
		seq `+cmp.Or(os.Getenv("LOOK_LINES"), "300000")+` | sed 's/^/a line of another unit, which says something and has a number: /' | systemd-cat -t filler
		systemd-run -q --wait --unit=t-lines seq 500
		journalctl --sync`)
	look := func() {
		conn, err := net.Dial("unix", box.Root()+"/run/clanmon-look.sock")
		require.NoError(b, err)
		defer conn.Close()
		_, err = io.WriteString(conn, `{"kind":"journal","unit":"t-lines.service","lines":200,"by":"bench"}`+"\n")
		require.NoError(b, err)
		text, err := io.ReadAll(conn)
		require.NoError(b, err)
		require.Equal(b, 201, strings.Count(string(text), "\n"), "%.300s", text)
	}
	journalctl := func() {
		text, err := exec.Command("journalctl", "--directory="+box.Root()+"/var/log/journal", "--output=json", "--unit=t-lines.service", "--lines=200").Output()
		require.NoError(b, err)
		require.Equal(b, 200, strings.Count(string(text), "\n"), "%.300s", text)
	}
	var took [2][]float64
	measure := func(f func()) float64 {
		begin := time.Now()
		f()
		return float64(time.Since(begin).Microseconds()) / 1000
	}
	first := measure(look)
	for b.Loop() {
		took[0] = append(took[0], measure(look))
		took[1] = append(took[1], measure(journalctl))
	}
	median := func(all []float64) float64 {
		slices.Sort(all)
		return all[len(all)/2]
	}
	files, err := filepath.Glob(box.Root() + "/var/log/journal/*/*.journal")
	require.NoError(b, err)
	size := 0.0
	for _, file := range files {
		info, err := os.Stat(file)
		require.NoError(b, err)
		size += float64(info.Size()) / (1 << 20)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(size, "journal-MiB")
	b.ReportMetric(first, "first-ms")
	b.ReportMetric(median(took[0]), "look-ms")
	b.ReportMetric(median(took[1]), "journalctl-ms")
	b.ReportMetric(median(took[0])/median(took[1]), "look/journalctl")
}
