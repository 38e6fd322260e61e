package delivery

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

const minimal = "route: {receiver: r}\nreceivers:\n- name: r\n"

func check(t *testing.T, text string) ([]string, error) {
	t.Helper()
	_, warnings, err := Check(write(t, "am.yml", text), false, promslog.NewNopLogger())
	return warnings, err
}

func TestOurReceiversBesideAlertmanagers(t *testing.T) {
	file := write(t, "am.yml", minimal+`  webhook_configs: [{url: "http://x/"}]
  ntfy_configs:
  - topic: ops
  - {topic: other, send_resolved: false}
  gotify_configs: [{url: "https://g", token: t}]
  matrix_configs: [{url: "https://m", token: t, room: "!r:m"}]
`)
	c, err := LoadConfig(file)
	require.NoError(t, err)
	b, err := c.build(Options{ExternalURL: &url.URL{}}, promslog.NewNopLogger())
	require.NoError(t, err)
	var names []string
	var resolved []bool
	for _, i := range b.receivers["r"] {
		names = append(names, i.String())
		resolved = append(resolved, i.SendResolved())
	}
	require.Equal(t, []string{"webhook[0]", "ntfy[0]", "ntfy[1]", "gotify[0]", "matrix[0]"}, names)
	require.Equal(t, []bool{true, true, false, true, true}, resolved)
	require.NotContains(t, c.String(), "token: t")
}

func TestWrongFilesAreRefusedWithThePlace(t *testing.T) {
	for text, want := range map[string]string{
		minimal + "  ntfy_configs:\n  - {topic: a}\n  - {topc: a}\n":                                            `line 6: receiver "r": ntfy_configs[1]: field topc not found`,
		"route: {receiver: nobody}\nreceivers: [{name: r}]\n":                                                   "nobody",
		"route: {receiver: r}\nreceivers:\n- name: r\n  webhok_configs: []\n":                                   "line 4",
		minimal + "  webhook_configs: [{url_file: /does/not/exist}]\n":                                          "receivers[0].webhook_configs[0].url_file: open /does/not/exist",
		minimal + "  gotify_configs: [{url: 'https://g', token_file: /does/not/exist}]\n":                       `receiver "r": gotify_configs[0].token_file: open /does/not/exist`,
		minimal + "  ntfy_configs: [{topic: a, title: '{{ .Status'}]\n":                                         `ntfy_configs[0].title`,
		minimal + "  slack_configs: [{api_url: 'http://x/', title: '{{ template \"nothing\" . }}'}]\n":          "receivers[0].slack_configs[0].title",
		minimal + "  webhook_configs: [{url: 'http://x', http_config: {authorization: {credentials_file: n}}}]": "credentials_file: open ",
		"templates: [broken.tmpl]\n" + minimal:                                                                  "templates: ",
		"":                                                                                                      "no route",
	} {
		file := write(t, "am.yml", text)
		require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(file), "broken.tmpl"), []byte("{{ define"), 0o600))
		_, _, err := Check(file, false, promslog.NewNopLogger())
		require.ErrorContains(t, err, want, text)
		require.ErrorContains(t, err, file)
	}
}

// What upstream would take has to be taken, also where a sample alert is not
// enough to fill a template.
func TestTemplatesThatNeedMoreThanASampleAreFine(t *testing.T) {
	_, err := check(t, minimal+"  ntfy_configs: [{topic: a, title: '{{ (index .Alerts 7).Labels.x }}', message: '{{ template \"clanmon.title\" . }}'}]\n")
	require.NoError(t, err)
}

func TestInhibitionCycle(t *testing.T) {
	rule := func(source, target string) string {
		return "- {source_matchers: ['alertname=\"" + source + "\"'], target_matchers: ['alertname=\"" + target + "\"']}\n"
	}
	warnings, err := check(t, minimal+"inhibit_rules:\n"+rule("A", "B")+rule("B", "C")+rule("C", "A"))
	require.NoError(t, err)
	require.Len(t, warnings, 1)
	require.Contains(t, warnings[0], "mute each other's source")
	warnings, err = check(t, minimal+"inhibit_rules:\n"+rule("A", "B")+rule("B", "C")+
		"- {source_matchers: ['severity=\"critical\"'], target_matchers: ['severity=\"warning\"'], equal: [machine]}\n")
	require.NoError(t, err)
	require.Empty(t, warnings)
}

// Nobody is warned of a configuration that is not theirs.
func TestShippedInhibitionsMuteNoSource(t *testing.T) {
	var sources []string
	for range 2 { // the second time with the alerts that the first one named
		text, err := shippedInhibitions(append(sources, "Watchdog"))
		require.NoError(t, err)
		c, err := parseConfig(append([]byte(minimal), text...))
		require.NoError(t, err)
		require.Empty(t, inhibitionCycle(c.InhibitRules))
		for _, r := range c.InhibitRules {
			sources = append(sources, r.SourceMatchers[0].Value)
		}
	}
}

func TestNotifyURLs(t *testing.T) {
	for url, want := range map[string]string{
		"ntfy://ntfy.sh/ops":                                                          "",
		"ntfy://ntfy.sh/ops?priority=4":                                               "",
		"gotify://g?priority=4&token_file=/x":                                         "",
		"ntfy://ntfy.sh/ops?priority=high":                                            "int",
		"ntfy+http://localhost:8080/ops?token_file=/x":                                "",
		"gotify://g.example.org/sub?token_file=/x":                                    "",
		"matrix://m.example.org/%23ops:m.example.org?token_file=/x":                   "",
		"matrix://m.example.org/!abc:m.example.org?token_file=/x":                     "",
		"mailto:me@example.org":                                                       "",
		"mailto:me@example.org?smarthost=mx:587&from=a@b&username=u&password_file=/x": "",
		"slack://?url_file=/x&channel=ops":                                            "",
		"webhook+https://example.org/hook?key=1":                                      "",
		"webhook://?url_file=/x":                                                      "",
		"ntfy://me:pw@ntfy.sh/ops":                                                    "does not belong here",
		"ntfy://ntfy.sh":                                                              "topic is missing",
		"ntfy://ntfy.sh/ops?tokenfile=/x":                                             `unknown option "tokenfile"`,
		"gotify://g.example.org":                                                      "token_file (or token) is missing",
		"matrix://m.example.org/#ops:x?token_file=/x":                                 "write %23",
		"mailto:me":                                   "not a mail address",
		"mailto:me@x?smarthost=mx":                    "HOST:PORT",
		"mailto:me@x?require_tls=maybe":               "true or false",
		"slack://hooks.slack.com/services/T/B/SECRET": "is a secret",
		"https://example.org":                         `unknown kind "https"; one of: gotify`,
		"webhook://example.org":                       "webhook+https://",
	} {
		_, err := ParseNotifyURL(url)
		if want == "" {
			require.NoError(t, err, url)
			continue
		}
		require.ErrorContains(t, err, want, url)
		require.NotContains(t, err.Error(), "SECRET")
		require.NotContains(t, err.Error(), "pw")
	}
}

// Flags are shown to everybody who reaches the port.
func TestNotifyURLsShowTheirHostOnly(t *testing.T) {
	file := write(t, "s", "x")
	shown := make(map[string]bool)
	for url, pasted := range map[string]bool{
		"ntfy://host.example/s3cret":                                     false,
		"ntfy+http://host.example/s3cret?token_file=" + file:             false,
		"ntfy://host.example?topic_file=" + file:                         false,
		"gotify://host.example/s3cret?token_file=" + file:                false,
		"gotify+http://host.example?token_file=" + file:                  false,
		"matrix://host.example/!s3cret:x?token_file=" + file:             false,
		"matrix+http://host.example/%23s3cret:x?token_file=" + file:      false,
		"mailto:s3cret@host.example":                                     false,
		"slack://?url_file=" + file:                                      false,
		"webhook+https://host.example/s3cret":                            false,
		"webhook+http://host.example/x?token=s3cret":                     true,
		"webhook+https://hooks.slack.com/services/s3cret":                true,
		"webhook+https://host.example/x?Access_Token=s3cret&room=s3cret": true,
	} {
		n, err := ParseNotifyURL(url)
		require.NoError(t, err, url)
		require.NotContains(t, n.String(), "s3cret", url)
		require.NotContains(t, n.String(), file, url)
		require.Equal(t, pasted, n.Pasted(), url)
		shown[n.Scheme] = true
	}
	for _, scheme := range notifySchemes {
		require.True(t, shown[scheme], "%s is not among the examples", scheme)
	}
}

// Every kind of --notify makes a configuration that Alertmanager takes.
func TestDefaultConfig(t *testing.T) {
	secret := write(t, "s", "https://hooks.example.org/x")
	o := Options{ExternalURL: &url.URL{}, HeartbeatURL: "https://hc.example.org/1"}
	for _, s := range []string{
		"ntfy://ntfy.sh/ops", "gotify://g?token_file=" + secret, "matrix://m/!a:m?token_file=" + secret,
		"mailto:me@example.org?password_file=" + secret + "&username=u&smarthost=mx:25", "slack://?url_file=" + secret + "&channel=ops",
		"webhook+http://127.0.0.1/1", "webhook+http://127.0.0.1/2",
	} {
		u, err := ParseNotifyURL(s)
		require.NoError(t, err, s)
		o.Notify = append(o.Notify, u)
	}
	c, err := defaultConfig(o)
	require.NoError(t, err)
	b, err := c.build(o, promslog.NewNopLogger())
	require.NoError(t, err)
	kinds := make(map[string]int)
	for _, i := range b.receivers[peopleReceiver] {
		kinds[i.Name()]++
	}
	require.Equal(t, map[string]int{"ntfy": 1, "gotify": 1, "matrix": 1, "email": 1, "slack": 1, "webhook": 2, "log": 1}, kinds)
	require.Len(t, b.receivers[heartbeatReceiver], 1)
	beats := c.Route.Routes[0]
	require.Equal(t, heartbeatReceiver, beats.Receiver)
	require.Equal(t, model.Duration(time.Minute), *beats.GroupInterval)
	require.Less(t, *beats.RepeatInterval, *beats.GroupInterval, "or only every second minute has a heartbeat")
	require.Empty(t, b.receivers[screenReceiver])
	require.Empty(t, c.warnings())
}
