package delivery

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"
)

func write(t testing.TB, name, text string) string {
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
		minimal + "  webhook_configs: s3cret\n":                                                                 "line 4: cannot unmarshal !!str into ",
		minimal + "  gotify_configs: [{url: 'https://g', token:s3cret}]\n":                                      `line 4: receiver "r": gotify_configs[0]: field … (': ' is missing after its name) not found`,
		minimal + "  slack_configs: [{api_url: 'https://u:s3cret/@h'}]\n":                                       "not a URL",
		minimal + "  gotify_configs: [{url: 'https://u:s3cret/@h', token: t}]\n":                                "gotify_configs[0]: ",
		"": "no route",
	} {
		file := write(t, "am.yml", text)
		require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(file), "broken.tmpl"), []byte("{{ define"), 0o600))
		_, _, err := Check(file, false, promslog.NewNopLogger())
		require.ErrorContains(t, err, want, text)
		require.ErrorContains(t, err, file)
		require.NotContains(t, err.Error(), "s3c")
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
		"ntfy://ntfy.sh/ops":                                                  "",
		"ntfy://ntfy.sh/ops?priority=4":                                       "",
		"gotify://g?priority=4&token_file=/x":                                 "",
		"ntfy://ntfy.sh/ops?priority=high":                                    `priority is "high"; it must be a number from 0 to 5`,
		"gotify://g?priority=11&token_file=/x":                                `priority is "11"; it must be a number from 0 to 10`,
		"matrix://m.example.org?room_file=/x&token_file=/y":                   "",
		"matrix://m.example.org/!abc:m?room_file=/x&token_file=/y":            "only one of room and room_file",
		"mailto:?to_file=/x":                                                  "",
		"mailto:me@example.org?to_file=/x":                                    "only one of the address and to_file",
		"telegram://-1001234567890?token_file=/x&thread=7":                    "",
		"telegram://?chat_file=/x&token_file=/y":                              "",
		"telegram://12345?token_file=/x&api_url=https://bots.example.org":     "",
		"telegram://@ops?token_file=/x":                                       "it must be telegram://CHAT_ID?token_file=FILE",
		"telegram://ops?token_file=/x":                                        `chat "ops" must be the number of a chat`,
		"telegram://0?token_file=/x":                                          `chat "0" must be the number of a chat`,
		"telegram://12345":                                                    "token_file is missing; it must be telegram://CHAT_ID?token_file=FILE",
		"telegram://?token_file=/x":                                           "the chat is missing",
		"telegram://12345?chat_file=/x&token_file=/y":                         "only one of the chat and chat_file",
		"telegram://12345?token_file=/x&thread=0":                             `thread is "0"; it must be a number from 1`,
		"telegram://12345?token_file=/x&api_url=bots":                         "api_url must be https://HOST",
		"telegram://123456:SECRET@telegram?chats=1":                           "it must be telegram://CHAT_ID?token_file=FILE",
		"telegram://123456:SECRET/1":                                          "it must be telegram://CHAT_ID?token_file=FILE",
		"tgram://123456:SECRET/1":                                             "not a URL",
		"tgram://bot/1":                                                       `unknown kind "tgram"; use telegram://CHAT_ID`,
		"discord://?url_file=/x&username=clanmon":                             "",
		"discord://1234/SECRET":                                               "must not be on the command line; it must be discord://?url_file=FILE",
		"discord://SECRET@1234":                                               "it must be discord://?url_file=FILE",
		"discord://":                                                          "url_file is missing; it must be discord://?url_file=FILE",
		"discord://?url_file=/x&avatar=1":                                     `unknown option "avatar"; it must be discord://`,
		"pushover://uQiRzpo4DXghDmr9QzzfQu27cmVRsG?token_file=/x&priority=-1": "",
		"pushover://?user_file=/x&token_file=/y&device=phone&sound=none":      "",
		"pushover://SECRET?token_file=/x":                                     "the user key has 6 characters; it must be 30",
		"pushover://uQiRzpo4DXghDmr9QzzfQu27cmVRs_?token_file=/x":             "it must be 30 letters and digits",
		"pushover://uQiRzpo4DXghDmr9QzzfQu27cmVRsG":                           "token_file is missing",
		"pushover://uQiRzpo4DXghDmr9QzzfQu27cmVRsG/SECRET":                    "must not be on the command line",
		"pushover://?token_file=/x":                                           "the user key is missing",
		"pushover://uQiRzpo4DXghDmr9QzzfQu27cmVRsG?token_file=/x&priority=3":  `priority is "3"; it must be a number from -2 to 2`,
		"pover://SECRET@SECRET":                                               "must not contain a user or password",
		"msteams://?url_file=/x":                                              "",
		"msteams://team@SECRET/b/c":                                           "it must be msteams://?url_file=FILE",
		"msteams://prod.westeurope.logic.azure.com/SECRET":                    "must not be on the command line",
		"teams://x":                  `unknown kind "teams"; use msteams://`,
		"telegarm://1?token_file=/x": `did you mean "telegram"`,
		"ntfy+http://localhost:8080/ops?token_file=/x":                                "",
		"gotify://g.example.org/sub?token_file=/x":                                    "",
		"matrix://m.example.org/%23ops:m.example.org?token_file=/x":                   "",
		"matrix://m.example.org/!abc:m.example.org?token_file=/x":                     "",
		"mailto:me@example.org":                                                       "",
		"mailto:me@example.org?smarthost=mx:587&from=a@b&username=u&password_file=/x": "",
		"slack://?url_file=/x&channel=ops":                                            "",
		"webhook+https://example.org/hook?key=1":                                      "",
		"webhook://?url_file=/x":                                                      "",
		"ntfy://me:pw@ntfy.sh/ops":                                                    "must not contain a user or password",
		"ntfy://ntfy.sh":                                                              "topic is missing",
		"ntfy://ntfy.sh/ops?tokenfile=/x":                                             `unknown option "tokenfile"`,
		"gotify://g.example.org":                                                      "token_file (or token) is missing",
		"matrix://m.example.org/#ops:x?token_file=/x":                                 "write %23",
		"mailto:me":                                   "not an email address",
		"mailto:me@x?smarthost=mx":                    "HOST:PORT",
		"mailto:me@x?require_tls=maybe":               "true or false",
		"slack://hooks.slack.com/services/T/B/SECRET": "is a secret",
		"https://example.org":                         `unknown kind "https"; one of: discord, gotify`,
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
		"discord://?url_file=" + file:                                    false,
		"msteams://?url_file=" + file:                                    false,
		"telegram://1234567890?token_file=" + file:                       false,
		"pushover://s3cretRzpo4DXghDmr9QzzfQu27cmV?token_file=" + file:   false,
		"mailto:?to_file=" + file:                                        false,
		"webhook://?url_file=" + file:                                    false,
		"webhook+https://host.example/s3cret":                            false,
		"webhook+http://host.example/x?token=s3cret":                     true,
		"webhook+https://hooks.slack.com/services/s3cret":                true,
		"webhook+https://host.example/x?Access_Token=s3cret&room=s3cret": true,
	} {
		n, err := ParseNotifyURL(url)
		require.NoError(t, err, url)
		require.NotContains(t, n.String(), "s3cret", url)
		require.NotContains(t, n.String(), file, url)
		require.NotContains(t, n.String(), "1234567890", url)
		require.Equal(t, pasted, n.Pasted(), url)
		shown[n.Scheme] = true
	}
	for _, f := range notifyForms {
		for _, scheme := range strings.Fields(f.schemes) {
			require.True(t, shown[scheme], "%s is not among the examples", scheme)
		}
	}
}

// Every kind of --notify makes a configuration that Alertmanager takes.
func TestDefaultConfig(t *testing.T) {
	secret := write(t, "s", "https://hooks.example.org/x")
	o := Options{ExternalURL: &url.URL{}, HeartbeatURL: "https://hc.example.org/1"}
	for _, s := range []string{
		"ntfy://ntfy.sh/ops", "gotify://g?token_file=" + secret, "matrix://m/!a:m?token_file=" + secret,
		"mailto:me@example.org?password_file=" + secret + "&username=u&smarthost=mx:25", "slack://?url_file=" + secret + "&channel=ops",
		"webhook+http://127.0.0.1/1", "webhook+http://127.0.0.1/2", "mailto:?to_file=" + secret,
		"telegram://1?token_file=" + secret, "discord://?url_file=" + secret, "msteams://?url_file=" + secret,
		"pushover://?user_file=" + secret + "&token_file=" + secret,
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
	require.Equal(t, map[string]int{"ntfy": 1, "gotify": 1, "matrix": 1, "email": 2, "slack": 1, "webhook": 2, "telegram": 1, "discord": 1, "msteamsv2": 1, "pushover": 1, "log": 1}, kinds)
	require.Len(t, b.receivers[heartbeatReceiver], 1)
	beats := c.Route.Routes[0]
	require.Equal(t, heartbeatReceiver, beats.Receiver)
	require.Equal(t, model.Duration(time.Minute), *beats.GroupInterval)
	require.Less(t, *beats.RepeatInterval, *beats.GroupInterval, "or only every second minute has a heartbeat")
	require.Empty(t, b.receivers[screenReceiver])
	require.Empty(t, c.warnings())
}
