package events

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/util/teststorage"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/server/internal/caller"
)

// post sends a note as somebody.
func post(t *testing.T, e *Events, body string, who caller.Caller) (int, string) {
	t.Helper()
	r := httptest.NewRequestWithContext(caller.With(t.Context(), who), http.MethodPost, "/", strings.NewReader(body))
	w := httptest.NewRecorder()
	e.Handler().ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestNotes(t *testing.T) {
	dir := t.TempDir()
	o := Options{Store: teststorage.New(t), Dir: dir, Knows: func(m string) bool { return m != "wbe1" }}
	ada := caller.Caller{Name: "ada", Configured: true, Role: caller.Operator}
	for _, n := range []struct {
		body, unknown string
		who           caller.Caller
	}{
		{fmt.Sprintf(`{"text":" <b>new disk</b>\nslot 3 ","machines":["web1"],"time":%.0f,"by":"mallory"}`, sec(30)), `[]`, ada},
		{fmt.Sprintf(`{"text":"move","machines":["web2","wbe1","web2"],"time":%.0f,"by":"bob"}`, sec(40)), `["wbe1"]`, caller.Caller{}},
		{fmt.Sprintf(`{"text":"power cut","time":%.0f,"by":"eve"}`, sec(50)), `[]`, caller.Caller{Configured: true}},
		{fmt.Sprintf(`{"text":"later","time":%.0f}`, sec(700)), `[]`, caller.Caller{}},
		{`{"text":"now"}`, `[]`, caller.Caller{}},
	} {
		code, body := post(t, New(o), n.body, n.who) // each is a server that was restarted
		require.Equal(t, 200, code, body)
		assert.Contains(t, body, `"unknown":`+n.unknown)
	}
	find := func(machine string, kinds ...string) []Event {
		a, err := New(o).Find(t.Context(), Question{From: at(0), To: at(600), Machine: machine, Kinds: kinds, Limit: 10})
		require.NoError(t, err)
		return a.Events
	}
	assert.Equal(t, []string{"+30.0 note web1: <b>new disk</b>", "+40.0 note : move", "+50.0 note : power cut"}, texts(find("")))
	all := find("")
	assert.Equal(t, Event{Time: sec(30), Kind: KindNote, Machine: "web1", Count: 1, Text: "<b>new disk</b>", Detail: "slot 3", By: "ada", like: "<b>new disk</b>"}, all[2])
	assert.Equal(t, []string{"wbe1", "web2"}, all[1].Machines)
	assert.Equal(t, 2, all[1].Count)
	assert.Equal(t, "bob", all[1].By)
	assert.Equal(t, "eve (not identified)", all[0].By)
	// One of no machine is of all.
	assert.Equal(t, []string{"+40.0 note : move", "+50.0 note : power cut"}, texts(find("web2", KindNote)))
	assert.Equal(t, []string{"+50.0 note : power cut"}, texts(find("web3")))
	assert.Empty(t, find("web1", KindReboot))

	w := httptest.NewRecorder()
	New(o).Handler().ServeHTTP(w, httptest.NewRequest("GET", fmt.Sprintf("/?format=grafana&machine=web1&from=%.0f&to=%.0f", sec(20), sec(40)), nil))
	var got []annotation
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
	assert.Equal(t, []annotation{{Time: int64(1000 * sec(30)), Title: "web1: <b>new disk</b>", Text: "slot 3\nada", Tags: []string{"note", "web1"}}}, got)
}

// A deploy of the whole fleet says the same of each machine.
func TestNotesOfManyMachinesAreOne(t *testing.T) {
	e := New(Options{Store: teststorage.New(t), Dir: t.TempDir()})
	for i := range 8 {
		require.NoError(t, e.notes.add(Note{Time: sec(30 + float64(i)), Text: "deployed 9c1f2a3", Machines: []string{fmt.Sprintf("m%d", i)}}))
	}
	require.NoError(t, e.notes.add(Note{Time: sec(34), Text: "deployed 9c1f2a3", Machines: []string{"a", "b"}}))
	a, err := e.Find(t.Context(), Question{From: at(0), To: at(600), Limit: 10})
	require.NoError(t, err)
	assert.Equal(t, []string{"+30.0 note : deployed 9c1f2a3: 8 machines", "+34.0 note : deployed 9c1f2a3"}, texts(a.Events))
}

func TestNotesThatAreRefused(t *testing.T) {
	dir := t.TempDir()
	e := New(Options{Store: teststorage.New(t), Dir: dir})
	for body, words := range map[string]string{
		`{}`:                            "text is empty",
		`{"text":" \u0007 "}`:           "text is empty",
		`[]`:                            "the note is not valid",
		`{"text":"x","machine":"web1"}`: `unknown field \"machine\"`,
		`{"text":7}`:                    "text",
		`{"text":"x","machines":[""]}`:  "is not the name of a machine",
		`{"text":"x","time":1e13}`:      "use Unix seconds",
		`{"text":"x","time":-5}`:        "use Unix seconds",
		`{"text":"` + strings.Repeat("é", maxText+1) + `"}`:          "text has 2001 characters, the maximum is 2000",
		`{"text":"x","by":"` + strings.Repeat("b", maxName+1) + `"}`: "by has 254 bytes",
	} {
		code, answer := post(t, e, body, caller.Caller{})
		assert.Equal(t, 400, code, body)
		assert.Contains(t, answer, words, body)
	}
	many, _ := json.Marshal(Note{Text: "x", Machines: names(maxMachines+1, 5)})
	code, answer := post(t, e, string(many), caller.Caller{})
	assert.Equal(t, 400, code)
	assert.Contains(t, answer, "machines has 1001 names")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, entries)

	code, answer = post(t, New(Options{Dir: dir}), `{"text":"x"}`, caller.Caller{})
	assert.Equal(t, 422, code)
	assert.Contains(t, answer, "agent")
	w := httptest.NewRecorder()
	e.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/x", strings.NewReader(`{"text":"x"}`)))
	assert.Equal(t, 404, w.Code)
}

func names(n, length int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("%0*d", length, i))
	}
	return all
}

func TestNotesOfABrokenFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), notesFile)
	keep := `{"time":1,"text":"first"}` + "\n" + `{"time":2,"text":"of a newer version","mood":"blue"}` + "\n" + "garbage\n" + `{"kind":"other"}` + "\n"
	require.NoError(t, os.WriteFile(file, []byte(keep+`{"time":3,"text":"to`+"\x00\x00"), 0o600))
	n := &notes{file: file, log: slog.New(slog.DiscardHandler)}
	texts := func() (all []string) {
		found, err := n.between(0, 10)
		require.NoError(t, err)
		for _, x := range found {
			all = append(all, x.Text)
		}
		return all
	}
	assert.Equal(t, []string{"first", "of a newer version"}, texts())
	require.NoError(t, n.add(Note{Time: 4, Text: "last"}))
	got, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, keep+`{"time":4,"text":"last"}`+"\n", string(got)) // nothing but the torn line is lost
	n.read = false
	assert.Equal(t, []string{"first", "of a newer version", "last"}, texts())

	// Without space nothing is kept, and it is tried again.
	full := &notes{file: "/dev/full", log: n.log, read: true, size: 5}
	require.ErrorContains(t, full.add(Note{Text: "x"}), "no space left")
	assert.False(t, full.read)

	unreadable := New(Options{Store: teststorage.New(t), Dir: t.TempDir()})
	require.NoError(t, os.Mkdir(unreadable.notes.file, 0o700))
	_, err = unreadable.Find(context.Background(), Question{From: at(0), To: at(1), Limit: 1})
	require.ErrorContains(t, err, "read notes")
	code, answer := post(t, unreadable, `{"text":"x"}`, caller.Caller{})
	assert.Equal(t, 500, code)
	assert.Contains(t, answer, notesFile)
}

func TestTheOldestNotesAreDropped(t *testing.T) {
	n := &notes{file: filepath.Join(t.TempDir(), notesFile), log: slog.New(slog.DiscardHandler)}
	machines := names(maxMachines, maxName)
	begin := time.Now()
	const added = 60 // of a quarter of a MiB
	for i := range added {
		require.NoError(t, n.add(Note{Time: float64(i), Text: "x", Machines: machines}))
		info, err := os.Stat(n.file)
		require.NoError(t, err)
		require.LessOrEqual(t, info.Size(), int64(maxNotes))
		require.EqualValues(t, n.size, info.Size())
	}
	t.Log(time.Since(begin))
	left, err := n.between(0, added)
	require.NoError(t, err)
	assert.Greater(t, len(left), 30)
	assert.Less(t, len(left), 45)
	for i, x := range left { // the last ones, without a hole
		assert.Equal(t, float64(added-len(left)+i), x.Time)
	}
	again := &notes{file: n.file, log: n.log}
	same, err := again.between(0, added)
	require.NoError(t, err)
	assert.Equal(t, left, same)
}
