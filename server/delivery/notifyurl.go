package delivery

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	yamlv2 "go.yaml.in/yaml/v2"
)

// A NotifyURL is where notifications go, as --notify takes it:
//
//	ntfy://HOST/TOPIC?token_file=F          also username, password_file, priority;
//	                                        ntfy://HOST?topic_file=F
//	gotify://HOST[/PATH]?token_file=F       also priority
//	matrix://HOST/ROOM?token_file=F         ROOM is !id:server or %23alias:server
//	mailto:NAME@HOST?smarthost=HOST:PORT    also from, username, password_file, require_tls
//	slack://?url_file=F                     also channel
//	webhook+https://HOST/PATH               also webhook+http; webhook://?url_file=F
//
// ntfy+http, gotify+http and matrix+http speak without TLS. Secrets are named by
// their files: command lines are seen by everybody on a machine.
type NotifyURL struct{ *url.URL }

// ParseNotifyURL checks everything that can be checked without asking anybody.
func ParseNotifyURL(s string) (NotifyURL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return NotifyURL{}, errors.New("not a URL") // the error would repeat it, secrets included
	}
	n := NotifyURL{u}
	if u.User != nil {
		return n, errors.New("a user or password does not belong here: use ?username=… and ?password_file=… or ?token_file=…")
	}
	if _, err := n.receiver(); err != nil {
		return n, err
	}
	return n, nil
}

// String is fit to be shown to anybody: of an address only its host. An ntfy topic and
// a webhook's path are all that somebody needs to send there, a mail address and a
// room are nobody's business.
func (n NotifyURL) String() string {
	if n.Scheme == "mailto" {
		to := cmp.Or(n.Opaque, strings.Trim(n.Path, "/"))
		return "mailto:…" + to[max(0, strings.LastIndex(to, "@")):]
	}
	return n.Scheme + "://" + n.Host + "/…"
}

// Pasted reports whether the address is a secret itself, which everybody on the
// machine reads on the command line.
func (n NotifyURL) Pasted() bool {
	kind, _, _ := strings.Cut(n.Scheme, "+")
	if kind != "webhook" {
		return false
	}
	for name := range n.Query() {
		switch strings.ToLower(name) {
		case "token", "tok", "key", "apikey", "api_key", "secret", "password", "access_token", "auth", "sig", "signature":
			return true
		}
	}
	return n.Host == "hooks.slack.com" || n.Host == "discord.com" || strings.HasSuffix(n.Host, ".webhook.office.com")
}

// notifyReceiver is the part of a receiver that a URL stands for.
type notifyReceiver struct {
	key   string // the list of Alertmanager's format that entry belongs to
	entry map[string]any
	own   *ownIntegration
}

var notifySchemes = []string{"gotify", "gotify+http", "mailto", "matrix", "matrix+http", "ntfy", "ntfy+http", "slack", "webhook+http", "webhook+https"}

func (n NotifyURL) receiver() (notifyReceiver, error) {
	kind, variant, _ := strings.Cut(n.Scheme, "+")
	base := "https"
	if variant == "http" {
		base = "http"
	}
	q := options{values: n.Query()}
	var r notifyReceiver
	var err error
	switch kind {
	case "ntfy":
		topic := strings.Trim(n.Path, "/")
		entry := map[string]any{"url": base + "://" + n.Host}
		if topic != "" {
			entry["topic"] = topic
		}
		q.copy(entry, "topic_file", "token_file", "username", "password_file", "priority")
		r.own, err = own("ntfy_configs", entry)
		if err == nil && strings.Contains(topic, "/") {
			err = errors.New("a topic must not hold a slash")
		}
	case "gotify":
		entry := map[string]any{"url": base + "://" + n.Host + strings.TrimSuffix(n.Path, "/")}
		q.copy(entry, "token_file", "priority")
		r.own, err = own("gotify_configs", entry)
	case "matrix":
		room := strings.Trim(n.Path, "/")
		if n.Fragment != "" {
			return r, errors.New("write %23 in place of # in the alias of a room")
		}
		entry := map[string]any{"url": base + "://" + n.Host, "room": room}
		q.copy(entry, "token_file", "msgtype")
		r.own, err = own("matrix_configs", entry)
	case "mailto":
		r.key = "email_configs"
		r.entry, err = mail(cmp.Or(n.Opaque, strings.Trim(n.Path, "/")), &q)
	case "slack":
		r.key = "slack_configs"
		if n.Host != "" {
			return r, errors.New("the address of a Slack webhook is a secret: write it into a file and use slack://?url_file=FILE")
		}
		r.entry = map[string]any{"send_resolved": true, "title": `{{ template "clanmon.title" . }}`, "text": `{{ template "clanmon.text" . }}`}
		q.rename(r.entry, "url_file", "api_url_file")
		q.copy(r.entry, "channel")
		if r.entry["api_url_file"] == nil {
			err = errors.New("url_file is missing: slack://?url_file=FILE")
		}
	case "webhook":
		r.key = "webhook_configs"
		r.entry = map[string]any{"send_resolved": true}
		switch {
		case n.Query().Has("url_file"):
			q.copy(r.entry, "url_file")
		case n.Host != "" && (variant == "http" || variant == "https"):
			plain := *n.URL
			plain.Scheme = variant
			r.entry["url"] = plain.String()
			q.values = nil // they are the receiver's
		default:
			err = errors.New("it has to be webhook+https://HOST/PATH or webhook://?url_file=FILE")
		}
	default:
		return r, fmt.Errorf("unknown kind %q; one of: %s", n.Scheme, strings.Join(notifySchemes, ", "))
	}
	if err != nil {
		return r, err
	}
	return r, q.unused()
}

// options are the parameters of a URL that nobody has asked for yet.
type options struct{ values url.Values }

func (o *options) take(name string) string {
	v := o.values.Get(name)
	o.values.Del(name)
	return v
}

func (o *options) copy(to map[string]any, names ...string) {
	for _, name := range names {
		o.rename(to, name, name)
	}
}

func (o *options) rename(to map[string]any, name, as string) {
	v := o.take(name)
	if v == "" {
		return
	}
	to[as] = v
	if n, err := strconv.Atoi(v); err == nil && name == "priority" {
		to[as] = n // what is no number is refused by its type
	}
}

func (o *options) unused() error {
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range o.values {
			if !yield(name) {
				return
			}
		}
	}) {
		return fmt.Errorf("unknown option %q", name)
	}
	return nil
}

func own(key string, entry map[string]any) (*ownIntegration, error) {
	text, err := yamlv2.Marshal(entry)
	if err != nil {
		return nil, err
	}
	o, err := registry[key](text)
	return &o, err
}

func mail(to string, q *options) (map[string]any, error) {
	if !strings.Contains(to, "@") {
		return nil, fmt.Errorf("%q is not a mail address", to)
	}
	smarthost := cmp.Or(q.take("smarthost"), "localhost:25")
	host, _, err := net.SplitHostPort(smarthost)
	if err != nil {
		return nil, fmt.Errorf("smarthost %q has to be HOST:PORT", smarthost)
	}
	first, _, _ := strings.Cut(to, ",")
	entry := map[string]any{
		"to": to, "smarthost": smarthost, "from": cmp.Or(q.take("from"), strings.TrimSpace(first)), "send_resolved": true,
		"headers": map[string]string{"Subject": `{{ template "clanmon.title" . }}`},
		"text":    "{{ template \"clanmon.text\" . }}\n{{ .ExternalURL }}/alerts\n", "html": "",
		// A mail server on this machine needs no TLS.
		"require_tls": host != "localhost" && host != "127.0.0.1" && host != "::1",
	}
	q.rename(entry, "username", "auth_username")
	q.rename(entry, "password_file", "auth_password_file")
	if v := q.take("require_tls"); v != "" {
		if v != "true" && v != "false" {
			return nil, fmt.Errorf("require_tls is %q; it has to be true or false", v)
		}
		entry["require_tls"] = v == "true"
	}
	return entry, nil
}

// Where the alerts of a server without an alertmanager.yml go.
const (
	peopleReceiver    = "people"    // warnings and what is worse
	screenReceiver    = "screen"    // the UI only
	heartbeatReceiver = "heartbeat" // Watchdog
)

// defaultConfig is the configuration of a server that was given none.
func defaultConfig(o Options) (*Config, error) {
	people := map[string]any{"name": peopleReceiver}
	c := &Config{own: make(map[string][]ownIntegration)}
	for _, n := range o.Notify {
		r, err := n.receiver()
		if err != nil {
			return nil, fmt.Errorf("--notify %q: %w", n, err)
		}
		if r.own != nil {
			add(c.own, peopleReceiver, *r.own)
			continue
		}
		list, _ := people[r.key].([]map[string]any)
		people[r.key] = append(list, r.entry)
	}
	add(c.own, peopleReceiver, logIntegration())
	type m = map[string]any
	watchdog := m{"receiver": screenReceiver, "matchers": []string{`alertname="Watchdog"`}}
	receivers := []m{people, {"name": screenReceiver}}
	if o.HeartbeatURL != "" || o.HeartbeatURLFile != "" {
		watchdog = m{
			// A repetition is due only after repeat_interval: with a minute too, it
			// would miss every second group_interval by a few milliseconds.
			"receiver": heartbeatReceiver, "matchers": []string{`alertname="Watchdog"`},
			"group_by": []string{"alertname"}, "group_wait": "0s", "group_interval": "1m", "repeat_interval": "30s",
		}
		receivers = append(receivers, m{"name": heartbeatReceiver})
		add(c.own, heartbeatReceiver, heartbeatIntegration(o))
	}
	text, err := yamlv2.Marshal(m{
		"route": m{
			"receiver": peopleReceiver, "group_by": []string{"machine"},
			"group_wait": model.Duration(o.GroupWait).String(), "group_interval": "5m", "repeat_interval": "12h",
			"routes": []m{
				watchdog,
				{"receiver": screenReceiver, "matchers": []string{`severity=~"info|none"`}},
				{"matchers": []string{`severity="critical"`, `machine!=""`}, "repeat_interval": "2h"},
				{"matchers": []string{`severity="critical"`}, "group_by": []string{"alertname"}, "repeat_interval": "2h"},
				{"matchers": []string{`machine=""`}, "group_by": []string{"alertname"}},
			},
		},
		"receivers": receivers,
	})
	if err != nil {
		return nil, err
	}
	upstream, err := parseConfig(text)
	if err != nil {
		return nil, fmt.Errorf("--notify: %w", err)
	}
	c.Config = upstream.Config
	if o.MaxPerMinute > 0 {
		c.budgeted, c.perMinute = peopleReceiver, o.MaxPerMinute
	}
	return c, nil
}

// shippedInhibitions are the inhibitions among the alerts in the binary. They
// hold wherever these alerts are evaluated, also with an alertmanager.yml, and
// mute none but them.
func shippedInhibitions(shipped []string) ([]byte, error) {
	if len(shipped) == 0 {
		return nil, nil
	}
	type m = map[string]any
	among := func(names ...string) string { return `alertname=~"` + strings.Join(names, "|") + `"` }
	but := func(names ...string) string {
		return among(slices.DeleteFunc(slices.Clone(shipped), func(s string) bool { return slices.Contains(names, s) })...)
	}
	rule := func(source string, targets []string, equal ...string) m {
		return m{"name": "clanmon: " + source, "source_matchers": []string{`alertname="` + source + `"`}, "target_matchers": targets, "equal": equal}
	}
	return yamlv2.Marshal(m{"inhibit_rules": []m{
		// It is there to hold others back, and no news to anybody.
		rule("Watchdog", []string{among("MachineNew")}),
		// What is wrong with a new machine is wrong; only its installation is no news.
		rule("MachineNew", []string{among("MachineRebooted", "MachineFlapping"), `severity=~"warning|info"`}, "machine"),
		rule("StorageBlind", []string{among("NoFreshSamples", "MachineQuiet")}),
		rule("NoFreshSamples", []string{among("MachineQuiet")}),
		rule("FleetUnreachable", []string{among("MachineDown", "ExporterDown", "MachineFlapping")}),
		rule("MachineDown", []string{but("MachineDown", "FleetUnreachable", "NoFreshSamples", "StorageBlind", "Watchdog")}, "machine"),
		rule("MachineQuiet", []string{but("MachineQuiet", "MachineDown", "FleetUnreachable", "NoFreshSamples", "StorageBlind", "Watchdog")}, "machine"),
		rule("FilesystemFull", []string{among("FilesystemAlmostFull", "FilesystemFillingUp")}, "machine", "device"),
		rule("FilesystemAlmostFull", []string{among("FilesystemFillingUp")}, "machine", "device"),
		rule("UnitFailed", []string{among("UnitCrashLooping", "UnitStuckStarting")}, "machine", "name"),
		// Between two attempts a unit is starting.
		rule("UnitCrashLooping", []string{among("UnitStuckStarting")}, "machine", "name"),
	}})
}
