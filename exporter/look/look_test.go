package look

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	wire "github.com/clanmon/clanmon/internal/look"
)

// response is what serve wrote.
type response struct {
	entries   []wire.Entry
	processes []wire.Process
	end       wire.End
}

func (r response) messages() (all []string) {
	for _, e := range r.entries {
		all = append(all, e.Message)
	}
	return all
}

func parseResponse(t *testing.T, text []byte) (r response) {
	t.Helper()
	ended := false
	for d := json.NewDecoder(bytes.NewReader(text)); ; {
		var m wire.Message
		err := d.Decode(&m)
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		require.False(t, ended, "something follows the end")
		switch {
		case m.Entry != nil:
			r.entries = append(r.entries, *m.Entry)
		case m.Process != nil:
			r.processes = append(r.processes, *m.Process)
		case m.End != nil:
			r.end, ended = *m.End, true
		}
	}
	require.True(t, ended, "no end in %q", text)
	return r
}

func init() { maxTime = time.Minute }

// look has a request answered whose client stays until the end.
func look(t *testing.T, r wire.Request, units ...string) response {
	t.Helper()
	in, client := io.Pipe()
	t.Cleanup(func() { client.Close() })
	text, err := json.Marshal(r)
	require.NoError(t, err)
	go func() { _, _ = client.Write(append(text, '\n')) }()
	var out bytes.Buffer
	require.NoError(t, serve(t.Context(), in, &out, units, slog.New(slog.DiscardHandler)))
	return parseResponse(t, out.Bytes())
}

// journalctl puts a program of that name first in the path. It writes what a script says,
// and its arguments and process number to files.
func journalctl(t *testing.T, script string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	file := filepath.Join(dir, "journalctl")
	require.NoError(t, os.WriteFile(file, []byte("#!/bin/sh\nprintf '%s\\n' \"$@\" > "+dir+"/args\necho $$ > "+dir+"/pid\n"+script), 0o755))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return dir
}

// line is one of journalctl; message is JSON.
func line(i int, message string) string {
	return fmt.Sprintf(`{"__CURSOR":"s=1;i=%x","__REALTIME_TIMESTAMP":"%d","_BOOT_ID":"6c7c6013a8db4ee1a2c76c7c6013a8db","PRIORITY":"6","_PID":"%d","_COMM":"app","MESSAGE":%s}`, i, 1700000000000000+i, i, message)
}

func lines(t *testing.T, all ...string) string {
	file := filepath.Join(t.TempDir(), "lines")
	require.NoError(t, os.WriteFile(file, []byte(strings.Join(all, "\n")+"\n"), 0o644))
	return "cat " + file + "\n"
}

func TestArgumentsOfJournalctl(t *testing.T) {
	dir := journalctl(t, lines(t, line(1, `"a"`)))
	three := 3
	look(t, wire.Request{Kind: wire.Journal, Unit: "dev-disk-by\\x2duuid.device", Lines: 200, Since: 1.5, Until: 1700000000, Priority: &three, Boot: "-1"})
	args, err := os.ReadFile(filepath.Join(dir, "args"))
	require.NoError(t, err)
	require.Equal(t, []string{
		"--no-pager", "--all", "--output=json", "--output-fields=" + journalFields, "--unit=dev-disk-by\\x2duuid.device", "--boot=-1",
		"--since=@1.500000", "--until=@1700000000.000000", "--priority=3", "--reverse", "--lines=200",
	}, strings.Split(strings.TrimSpace(string(args)), "\n"))
}

// journalctl writes the newest first, and who looks reads the oldest first.
func TestWhatALineMayBe(t *testing.T) {
	journalctl(t, lines(t,
		line(9, `"last"`),
		line(8, `null`),
		line(7, `[104,105,32,27,91,51,49,109,255]`),
		line(6, `["one","two"]`),
		line(5, `"\u202egnp.exe"`),
		line(4, `"`+strings.Repeat("x", 1<<20)+`"`),
		line(3, `"`+strings.Repeat("y", 5<<20)+`"`),
		`no JSON at all`,
		`{"__CURSOR":"s=1;i=1","MESSAGE":{"an":"object"}}`,
		line(1, `"first"`),
	))
	r := look(t, wire.Request{Kind: wire.Journal, Unit: "a.service", Lines: 200})
	require.Equal(t, wire.End{}, r.end)
	require.Equal(t, []string{
		"first", "(a message that is too long to show)", strings.Repeat("x", wire.MaxMessage), "<U+202E>gnp.exe", "one\ntwo", `hi ␛[31m\xff`, "", "last",
	}, r.messages())
	require.Equal(t, 1<<20, r.entries[2].Length)
	require.Equal(t, wire.Entry{
		Cursor: "s=1;i=9", Time: "1700000000000009", Boot: "6c7c6013a8db4ee1a2c76c7c6013a8db", Priority: "6", Identifier: "app", PID: "9", Message: "last",
	}, r.entries[7])
}

func TestLimitsOfAResponse(t *testing.T) {
	var all []string
	for i := range 300 {
		all = append(all, line(300-i, `"message `+strconv.Itoa(300-i)+strings.Repeat(" filler", 1000)+`"`))
	}
	journalctl(t, lines(t, all...))
	r := look(t, wire.Request{Kind: wire.Journal, Lines: 2000})
	require.Equal(t, wire.EndBytes, r.end.Reason)
	require.Contains(t, r.messages()[len(r.entries)-1], "message 300 ", "the newest are kept")
	require.InDelta(t, 142, len(r.entries), 5)

	r = look(t, wire.Request{Kind: wire.Journal, Lines: 3})
	require.Equal(t, wire.EndLines, r.end.Reason)
	require.Len(t, r.entries, 3)
}

func TestGrepIsRE2(t *testing.T) {
	dir := journalctl(t, lines(t, line(4, `"panic: b"`), line(3, `"fine"`), line(2, `"panic: a"`), line(1, `"panic: old"`)))
	r := look(t, wire.Request{Kind: wire.Journal, Lines: 2, Grep: `^panic: .$`})
	require.Equal(t, []string{"panic: a", "panic: b"}, r.messages())
	args, err := os.ReadFile(filepath.Join(dir, "args"))
	require.NoError(t, err)
	require.NotContains(t, string(args), "panic", "journalctl matches with PCRE")
	require.NotContains(t, string(args), "--lines", "which are those that match")
	require.Contains(t, look(t, wire.Request{Kind: wire.Journal, Lines: 2, Grep: `(`}).end.Error, "grep")
}

// Catastrophic in PCRE: time must depend on the length only.
func TestASlowPattern(t *testing.T) {
	long := `"` + strings.Repeat("a", 1<<20) + `!"`
	journalctl(t, lines(t, line(3, long), line(2, long), line(1, `"aaa"`)))
	begin := time.Now()
	r := look(t, wire.Request{Kind: wire.Journal, Lines: 5, Grep: `^(a|aa)+$`})
	require.Equal(t, wire.End{}, r.end)
	require.Less(t, time.Since(begin), maxTime)
}

func TestNoJournal(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	require.Contains(t, look(t, wire.Request{Kind: wire.Journal, Lines: 5}).end.Error, "no journalctl")
}

func TestWhatJournalctlComplainsAbout(t *testing.T) {
	journalctl(t, "echo 'No journal files were opened due to insufficient permissions.' >&2; exit 1")
	require.Contains(t, look(t, wire.Request{Kind: wire.Journal, Lines: 5}).end.Error, "systemd-journal")
	journalctl(t, "echo 'No journal boot entry found for the specified boot (-3).' >&2; exit 1")
	require.Equal(t, "journalctl: No journal boot entry found for the specified boot (-3).", look(t, wire.Request{Kind: wire.Journal, Lines: 5, Boot: "-3"}).end.Error)
	journalctl(t, "exit 3")
	require.Contains(t, look(t, wire.Request{Kind: wire.Journal, Lines: 5}).end.Error, "exit status 3")
	journalctl(t, "exec >&-; sleep 0.2; exit 3")
	require.Contains(t, look(t, wire.Request{Kind: wire.Journal, Lines: 5}).end.Error, "exit status 3", "it was not killed before it could say so")
}

// Entries that were read are shown; that there may be more is said.
func TestJournalctlThatDies(t *testing.T) {
	for script, want := range map[string]string{
		"exit 3":                            "journalctl failed: exit status 3",
		"kill -9 $$":                        "journalctl failed: signal: killed",
		"echo 'Bad message' >&2; exit 1":    "journalctl: Bad message",
		"echo 'Truncated file' >&2; exit 0": "",
	} {
		journalctl(t, lines(t, line(2, `"two"`), line(1, `"one"`))+script)
		r := look(t, wire.Request{Kind: wire.Journal, Lines: 5})
		require.Equal(t, []string{"one", "two"}, r.messages(), script)
		require.Equal(t, wire.End{Incomplete: want}, r.end, script)
		r = look(t, wire.Request{Kind: wire.Journal, Follow: true, Since: 1})
		require.Equal(t, []string{"two", "one"}, r.messages(), script)
		if want == "" {
			want = "journalctl ended" // it never does
		}
		require.Equal(t, wire.End{Incomplete: want}, r.end, script)
	}
}

func TestUnitsThatMayNotBeLookedAt(t *testing.T) {
	dir := journalctl(t, lines(t, line(1, `"secret"`)))
	r := look(t, wire.Request{Kind: wire.Journal, Lines: 5, Unit: "sshd.service"}, "nginx", "postgresql*")
	require.Contains(t, r.end.Error, "sshd.service may not be looked at")
	require.Contains(t, look(t, wire.Request{Kind: wire.Journal, Lines: 5}, "nginx").end.Error, "a unit must be named")
	require.NoFileExists(t, filepath.Join(dir, "args"))
	require.Len(t, look(t, wire.Request{Kind: wire.Journal, Lines: 5, Unit: "nginx.service"}, "nginx").entries, 1)
}

// Who follows gets lines as they come; when the client goes away, journalctl ends.
func TestFollowUntilTheClientGoesAway(t *testing.T) {
	dir := journalctl(t, lines(t, line(1, `"first"`), line(2, `"second"`))+"exec sleep 1000")
	in, client := io.Pipe()
	answer, out := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- serve(context.Background(), in, out, nil, slog.New(slog.DiscardHandler)) }()
	_, err := io.WriteString(client, `{"kind":"journal","by":"a","follow":true,"after":"s=1;i=0"}`+"\n")
	require.NoError(t, err)
	d := json.NewDecoder(answer)
	for _, want := range []string{"first", "second"} {
		var m wire.Message
		require.NoError(t, d.Decode(&m))
		require.Equal(t, want, m.Entry.Message)
	}
	args, err := os.ReadFile(filepath.Join(dir, "args"))
	require.NoError(t, err)
	require.Contains(t, string(args), "--after-cursor=s=1;i=0\n--follow\n--no-tail\n")
	client.Close()
	require.NoError(t, <-done)
	pid, err := os.ReadFile(filepath.Join(dir, "pid"))
	require.NoError(t, err)
	n, err := strconv.Atoi(strings.TrimSpace(string(pid)))
	require.NoError(t, err)
	require.ErrorIs(t, syscall.Kill(n, 0), syscall.ESRCH, "journalctl still runs")
}

func TestProcesses(t *testing.T) {
	burn := exec.Command("sh", "-c", "while :; do :; done", "a-password")
	require.NoError(t, burn.Start())
	defer func() { _ = burn.Process.Kill(); _ = burn.Wait() }()
	r := look(t, wire.Request{Kind: wire.Processes})
	require.Empty(t, r.end.Error)
	require.GreaterOrEqual(t, r.end.Total, len(r.processes))
	require.LessOrEqual(t, len(r.processes), 3*top)
	found := false
	for _, p := range r.processes {
		require.NotContains(t, p.Command, "a-password")
		if p.PID == burn.Process.Pid {
			found = true
			require.Equal(t, "sh -c …", p.Command)
			require.Greater(t, p.CPU, 0.05)
			require.Positive(t, p.Memory)
		}
	}
	require.True(t, found, "a process that uses a processor is among the first")
	require.Empty(t, look(t, wire.Request{Kind: wire.Processes}, "no-such").processes)
	require.Empty(t, look(t, wire.Request{Kind: wire.Processes, Units: wire.Units{"no-such"}}).processes)
}

func TestUnitsOfProcesses(t *testing.T) {
	for path, want := range map[string]string{
		"/system.slice/nginx.service":                                       "nginx.service",
		"/system.slice/system-getty.slice/getty@tty1.service":               "getty@tty1.service",
		"/user.slice/user-1000.slice/user@1000.service/app.slice/a.service": "user@1000.service",
		"/user.slice/user-1000.slice/session-2.scope":                       "session-2.scope",
		"/system.slice/docker-6c7c.scope/init":                              "docker-6c7c.scope",
		"/system.slice/_cpu.service":                                        "cpu.service",
		"/":                                                                 "",
		"/init.scope":                                                       "init.scope",
		"/kubepods/besteffort/pod1":                                         "",
		"/system.slice/dev-disk-by\\x2duuid.swap":                           "dev-disk-by\\x2duuid.swap",
		"/system.slice/--file=/etc/shadow.service":                          "",
		"/../../../etc/passwd":                                              "",
	} {
		require.Equal(t, want, unitOf(unitGroup(path)), path)
	}
}

func TestCommandsAreCutAfterTheFirstArgument(t *testing.T) {
	for want, words := range map[string][]string{
		"":                             nil,
		"init":                         {"init"},
		"java -jar …":                  {"java", "-jar", "app.jar", "--password=x"},
		"nginx: worker process":        {"nginx: worker process"},
		"sh ␛[31m":                     {"sh", "\x1b[31m"},
		strings.Repeat("a", 256) + "…": {strings.Repeat("a", 5000), "b"},
	} {
		require.Equal(t, want, command(words))
	}
}

// listening runs Listen as systemd does: the socket stays when it ends.
func listening(t *testing.T, idle time.Duration) (socket string, done chan error, again func(), stop func()) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	require.NoError(t, err)
	l.SetUnlinkOnClose(false)
	t.Cleanup(func() { l.Close() })
	ctx, cancel := context.WithCancel(t.Context())
	done = make(chan error, 1)
	again = func() {
		file, err := l.File()
		require.NoError(t, err)
		defer file.Close()
		passed, err := net.FileListener(file)
		require.NoError(t, err)
		go func() {
			done <- Listen(ctx, passed.(*net.UnixListener), idle, nil, slog.New(slog.DiscardHandler))
		}()
	}
	again()
	return socket, done, again, cancel
}

func dial(t *testing.T, socket, request string) *net.UnixConn {
	t.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	_, err = io.WriteString(conn, request+"\n")
	require.NoError(t, err)
	return conn
}

const oneLine = `{"kind":"journal","by":"a","lines":5}`

func whole(t *testing.T, conn net.Conn) []string {
	t.Helper()
	text, err := io.ReadAll(conn)
	require.NoError(t, err)
	return parseResponse(t, text).messages()
}

// One process answers requests that come while others are open, and ends when none are.
// Who comes then is answered by the next process.
func TestAProcessStaysForTheNextRequest(t *testing.T) {
	journalctl(t, `case "$*" in *--follow*) `+lines(t, line(1, `"followed"`))+`exec sleep 1000;; *) `+lines(t, line(1, `"hello"`))+`;; esac`)
	socket, done, again, _ := listening(t, time.Second)
	follower := dial(t, socket, `{"kind":"journal","by":"a","follow":true,"after":"s=1;i=0"}`)
	first, err := bufio.NewReader(follower).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, first, "followed")
	for range 3 { // longer than it stays idle, and one bad request between
		require.Equal(t, []string{"hello"}, whole(t, dial(t, socket, oneLine)))
		require.Empty(t, whole(t, dial(t, socket, `{"kind":"journal","unit":"--file=/etc/shadow","lines":5}`)))
		select {
		case err := <-done:
			t.Fatalf("it ended while somebody followed: %v", err)
		case <-time.After(1200 * time.Millisecond):
		}
	}
	follower.Close()
	require.NoError(t, <-done)

	waiting := dial(t, socket, oneLine)
	again()
	require.Equal(t, []string{"hello"}, whole(t, waiting))
	require.NoError(t, <-done)
}

// Requests beyond those that run at once wait for their turn.
func TestRequestsAtOnceAreLimited(t *testing.T) {
	dir := journalctl(t, `case "$*" in *--follow*) echo >> `+"$(dirname $0)"+`/started; exec sleep 1000;; *) `+lines(t, line(1, `"hello"`))+`;; esac`)
	socket, done, _, stop := listening(t, time.Minute)
	var followers []*net.UnixConn
	for range maxOpen {
		followers = append(followers, dial(t, socket, `{"kind":"journal","by":"a","follow":true,"after":"s=1;i=0"}`))
	}
	require.Eventually(t, func() bool {
		text, _ := os.ReadFile(filepath.Join(dir, "started"))
		return len(text) == maxOpen
	}, time.Minute, 5*time.Millisecond)
	next := dial(t, socket, oneLine)
	require.NoError(t, next.SetReadDeadline(time.Now().Add(200*time.Millisecond)))
	_, err := next.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	followers[0].Close()
	require.NoError(t, next.SetReadDeadline(time.Time{}))
	require.Equal(t, []string{"hello"}, whole(t, next))

	// systemctl stop: it waits for what it started.
	stop()
	require.NoError(t, <-done)
	_, err = io.ReadAll(followers[1])
	require.NoError(t, err)
}

// What is cut off a long message does not stay in memory: there may be 60 of them, of
// megabytes, before a response is full.
func TestMemoryOfLongMessages(t *testing.T) {
	long := []byte(line(1, `"`+strings.Repeat("x", 1<<20)+`"`))
	var kept []wire.Entry
	for range 60 {
		e, ok := parse(long)
		require.True(t, ok)
		kept = append(kept, e)
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	require.Less(t, m.HeapAlloc, uint64(30<<20))
	runtime.KeepAlive(kept)
}
