package look

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func ask(r Request) string {
	text, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	return string(text) + "\n"
}

func TestUnitsOfRequests(t *testing.T) {
	for _, unit := range []string{
		"nginx.service", "dbus.socket", "user@1000.service", "systemd-cryptsetup@luks\\x2dhome.service", "dev-disk-by\\x2duuid-1.device",
		"postgresql@15-main.service", "-.mount", strings.Repeat("a", 247) + ".service", "",
	} {
		r, err := ReadRequest(strings.NewReader(ask(Request{Kind: Journal, By: "alice", Unit: unit, Lines: 200})))
		require.NoError(t, err, unit)
		require.Equal(t, unit, r.Unit)
	}
	for _, unit := range []string{
		"--file=/etc/shadow", "-o", "--file=/etc/shadow.service", "-o.service", "--user.service", "-.service.service", "a b", "a b.service", "\\x2d", "nginx", "nginx.service.service/..", "*.service", "n?inx.service", "[a].service",
		"nginx.service\n--all", "ngin\u00efx.service", "nginx.conf", ".service\x00", strings.Repeat("a", 292) + ".service",
	} {
		_, err := ReadRequest(strings.NewReader(ask(Request{Kind: Journal, Unit: unit, Lines: 200})))
		require.ErrorContains(t, err, "unit", "%q", unit)
	}
}

func TestFieldsOfRequests(t *testing.T) {
	ok := Request{Kind: Journal, By: "alice", Unit: "a.service", Lines: 200}
	require.NoError(t, ok.Check())
	eight := 8
	for name, change := range map[string]func(*Request){
		"kind":                 func(r *Request) { r.Kind = "shadow" },
		"by":                   func(r *Request) { r.By = strings.Repeat("a", 400) },
		"lines":                func(r *Request) { r.Lines = MaxLines + 1 },
		"lines 0":              func(r *Request) { r.Lines = 0 },
		"since":                func(r *Request) { r.Since = -1 },
		"until":                func(r *Request) { r.Until = 1e12 },
		"before":               func(r *Request) { r.Since, r.Until = 20, 10 },
		"priority":             func(r *Request) { r.Priority = &eight },
		"boot":                 func(r *Request) { r.Boot = "--file=/etc/shadow" },
		"grep":                 func(r *Request) { r.Grep = "(" },
		"bytes":                func(r *Request) { r.Grep = strings.Repeat("a", maxGrep+1) },
		"after":                func(r *Request) { r.After = "s=1" },
		"cursor":               func(r *Request) { r.After, r.Follow = "; rm", true },
		"follow":               func(r *Request) { r.Follow = true },
		"takes no other field": func(r *Request) { r.Kind = Processes },
	} {
		r := ok
		change(&r)
		require.ErrorContains(t, r.Check(), strings.Fields(name)[0], name)
	}
	follow := Request{Kind: Journal, Follow: true, After: "s=739ad463348b4ceca5a9e69c95a3c93f;i=4ece7;b=6c7c6013a8db4ee1a2c7;m=4fbb7f7b4;t=4d6a8b0c;x=1"}
	require.NoError(t, follow.Check())

	for text, want := range map[string]string{
		"":     "not JSON",
		"null": "kind",
		"{}":   "kind",
		`{"kind":"journal","lines":1,"file":"/etc/shadow"}`: "unknown field",
		`{"kind":"processes"} {}`:                           "more than one",
		`{"kind":"journal","lines":1e99}`:                   "not JSON",
		`{"kind":"` + strings.Repeat("a", MaxRequest):       "longer than",
	} {
		_, err := ReadRequest(strings.NewReader(text))
		require.ErrorContains(t, err, want, text)
	}
}

// The rest of a connection is not waited for: it stays open while somebody listens.
func TestARequestEndsWithItsLine(t *testing.T) {
	_, err := ReadRequest(&endless{text: ask(Request{Kind: Processes})})
	require.NoError(t, err)
}

type endless struct{ text string }

func (e *endless) Read(p []byte) (int, error) {
	if e.text == "" {
		panic("read after the end of the line")
	}
	n := copy(p, e.text)
	e.text = e.text[n:]
	return n, nil
}

func TestUnitsThatMayBeLookedAt(t *testing.T) {
	u := Units{"nginx", "postgresql*", "dbus.socket", "foo@*.service"}
	require.NoError(t, u.Check())
	for unit, want := range map[string]bool{
		"nginx.service": true, "nginx.socket": false, "nginx2.service": false, "postgresql@15-main.service": true, "postgresql.timer": true,
		"dbus.socket": true, "dbus.service": false, "foo@a.service": true, "sshd.service": false,
	} {
		require.Equal(t, want, u.Allow(unit), unit)
		require.Equal(t, want, u.Refusal(Request{Kind: Journal, Unit: unit}) == "", unit)
	}
	require.Contains(t, u.Refusal(Request{Kind: Journal}), "a unit must be named", "all messages are more than those of some units")
	require.Empty(t, u.Refusal(Request{Kind: Processes}))
	require.Empty(t, Units(nil).Refusal(Request{Kind: Journal}))
	require.ErrorContains(t, Units{"a["}.Check(), "a[")
	require.Error(t, Units{""}.Check())
	require.ErrorContains(t, Units{strings.Repeat("a", 9<<10)}.Check(), "bytes")
}

func TestVisible(t *testing.T) {
	for text, want := range map[string]string{
		"plain, wörld 世界\tשלום\nnext": "plain, wörld 世界\tשלום\nnext",
		"\x1b[31mred\x1b[0m":          "␛[31mred␛[0m",
		"a\rb\x00c\x7f":               "a␍b␀c<U+007F>",
		"exe\u202egpj.\u2069":         "exe<U+202E>gpj.<U+2069>",
		"\xff\xfe ok":                 `\xff\xfe ok`,
		"\ufffd is a character":       "\ufffd is a character",
		"\u0085\u2028":                "<U+0085><U+2028>",
	} {
		require.Equal(t, want, Visible(text))
	}
}

// Whatever a request says, each of its values is one that journalctl can only take as
// the value of a flag.
func FuzzRequest(f *testing.F) {
	f.Add(ask(Request{Kind: Journal, Unit: "nginx.service", Lines: 200, Grep: "a|b", Boot: "-1"}))
	f.Add(ask(Request{Kind: Journal, Follow: true, After: "s=1;i=2"}))
	f.Add(ask(Request{Kind: Processes, By: "alice"}))
	f.Add(`{"kind":"journal","unit":"--file=/etc/shadow","lines":1}`)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ReadRequest(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, value := range []string{r.Unit, r.After} {
			require.False(t, strings.HasPrefix(value, "-") && value[1] != '.' || strings.ContainsAny(value, "*?[]/ \t\n\x00") || len(value) > 300, value)
		}
		require.NoError(t, r.Check())
		again, err := ReadRequest(strings.NewReader(ask(r)))
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(r.Unit, r.Boot, r.Grep), fmt.Sprint(again.Unit, again.Boot, again.Grep))
	})
}
