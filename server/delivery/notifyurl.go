package delivery

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	amcommon "github.com/prometheus/alertmanager/config/common"
	"github.com/prometheus/alertmanager/notify/email"
	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	yamlv2 "go.yaml.in/yaml/v2"

	"github.com/clanmon/clanmon/internal/suggest"
	"github.com/clanmon/clanmon/server/delivery/integration"
)

// A NotifyURL is where notifications go, as --notify takes it: one of notifyForms. Secrets
// are named by their files: command lines are seen by everybody on a machine.
type NotifyURL struct{ *url.URL }

// ParseNotifyURL checks everything that can be checked without asking anybody.
func ParseNotifyURL(s string) (NotifyURL, error) {
	u, err := url.Parse(s)
	if err != nil { // which would repeat the URL, secrets included
		kind, _, _ := strings.Cut(s, ":")
		if form := formOf(kind); form != "" {
			return NotifyURL{}, errors.New("not a URL; it must be " + form)
		}
		return NotifyURL{}, errors.New("not a URL")
	}
	n := NotifyURL{u}
	if u.User != nil {
		text := "the URL must not contain a user or password"
		if form := formOf(u.Scheme); form != "" {
			text += "; it must be " + form
		}
		return n, errors.New(text)
	}
	if _, err := n.receiver(); err != nil {
		return n, err
	}
	// Upstream's checks of what a receiver has.
	if _, err := defaultConfig(Options{Notify: []NotifyURL{n}}); err != nil {
		return n, cmp.Or(errors.Unwrap(err), err)
	}
	return n, nil
}

// String is fit to be shown to anybody: of an address only its host. An ntfy topic and
// a webhook's path are all that somebody needs to send there, a mail address and a
// room are nobody's business.
func (n NotifyURL) String() string {
	switch n.Scheme {
	case "mailto":
		to := cmp.Or(n.Opaque, strings.Trim(n.Path, "/"))
		return "mailto:…" + to[max(0, strings.LastIndex(to, "@")):]
	case "telegram", "pushover": // in the place of a host is a recipient
		return n.Scheme + "://…"
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

// notifyForms are the kinds of --notify, and how each is written.
var notifyForms = []struct{ schemes, form string }{
	{"discord", "discord://?url_file=FILE, where FILE has https://discord.com/api/webhooks/ID/TOKEN; also username"},
	{"gotify gotify+http", "gotify://HOST[/PATH]?token_file=FILE; also priority"},
	{"mailto", "mailto:NAME@HOST?smarthost=HOST:PORT or mailto:?to_file=FILE; also from, username, password_file, require_tls"},
	{"matrix matrix+http", "matrix://HOST/ROOM?token_file=FILE, where ROOM is !id:server or %23alias:server, or ?room_file=FILE"},
	{"msteams", "msteams://?url_file=FILE, where FILE has the URL of a Teams workflow for webhooks"},
	{"ntfy ntfy+http", "ntfy://HOST/TOPIC or ntfy://HOST?topic_file=FILE; also token_file, username, password_file, priority"},
	{"pushover", "pushover://USER_KEY?token_file=FILE or pushover://?user_file=FILE&token_file=FILE; also priority, device, sound"},
	{"slack", "slack://?url_file=FILE; also channel"},
	{"telegram", "telegram://CHAT_ID?token_file=FILE or telegram://?chat_file=FILE&token_file=FILE; also thread, api_url"},
	{"webhook webhook+http webhook+https", "webhook+https://HOST/PATH or webhook://?url_file=FILE"},
}

// otherNames are what other programs call a kind.
var otherNames = map[string]string{"tgram": "telegram", "pover": "pushover", "teams": "msteams", "workflows": "msteams", "mailtos": "mailto", "smtp": "mailto", "ntfys": "ntfy", "matrixs": "matrix", "gotifys": "gotify"}

// formOf is how a URL of a kind is written, "" for one that is not known.
func formOf(scheme string) string {
	for _, f := range notifyForms {
		if slices.Contains(strings.Fields(f.schemes), scheme) {
			return f.form
		}
	}
	return ""
}

// unknownKind says what may have been meant.
func unknownKind(scheme string) error {
	if form := formOf(otherNames[scheme]); form != "" {
		return fmt.Errorf("unknown kind %q; use %s", scheme, form)
	}
	var all []string
	for _, f := range notifyForms {
		all = append(all, strings.Fields(f.schemes)...)
	}
	return fmt.Errorf("unknown kind %q%s; one of: %s", scheme, suggest.Nearest(scheme, all), strings.Join(all, ", "))
}

func (n NotifyURL) receiver() (notifyReceiver, error) {
	kind, variant, _ := strings.Cut(n.Scheme, "+")
	base := "https"
	if variant == "http" {
		base = "http"
	}
	form := formOf(n.Scheme)
	if form == "" {
		return notifyReceiver{}, unknownKind(n.Scheme)
	}
	q := &options{values: n.Query()}
	path := strings.Trim(n.Path, "/")
	var r notifyReceiver
	var err error
	switch kind {
	case "ntfy":
		entry := map[string]any{"url": base + "://" + n.Host}
		if path != "" {
			entry["topic"] = path
		}
		q.copy(entry, "topic_file", "token_file", "username", "password_file")
		q.number(entry, "priority", 0, 5)
		r.own, err = own("ntfy_configs", entry)
		if err == nil && strings.Contains(path, "/") {
			err = errors.New("a topic must not contain a slash")
		}
	case "gotify":
		entry := map[string]any{"url": base + "://" + n.Host + strings.TrimSuffix(n.Path, "/")}
		q.copy(entry, "token_file")
		q.number(entry, "priority", 0, 10)
		r.own, err = own("gotify_configs", entry)
	case "matrix":
		if n.Fragment != "" {
			return r, errors.New("write %23 instead of # in a room alias")
		}
		entry := map[string]any{"url": base + "://" + n.Host, "room": path}
		q.copy(entry, "room_file", "token_file", "msgtype")
		r.own, err = own("matrix_configs", entry)
	case "mailto":
		var c *integration.MailConfig
		if c, err = mail(cmp.Or(n.Opaque, path), q); err == nil {
			o := ownMail(c)
			r.own = &o
		}
	case "slack":
		r = notifyReceiver{key: "slack_configs", entry: styled("slack", "text")}
		r.entry["title_link"] = link
		q.rename(r.entry, "url_file", "api_url_file")
		q.copy(r.entry, "channel")
		err = n.onlyFile(r.entry["api_url_file"], form)
	case "discord":
		r = notifyReceiver{key: "discord_configs", entry: styled("discord", "message")}
		r.entry["title"] = `{{ template "clanmon.sign" . }} ` + r.entry["title"].(string)
		q.rename(r.entry, "url_file", "webhook_url_file")
		q.copy(r.entry, "username")
		err = n.onlyFile(r.entry["webhook_url_file"], form)
	case "msteams":
		r = notifyReceiver{key: "msteamsv2_configs", entry: styled("msteams", "text")}
		r.entry["title"] = `{{ template "clanmon.sign" . }} ` + r.entry["title"].(string)
		q.rename(r.entry, "url_file", "webhook_url_file")
		err = n.onlyFile(r.entry["webhook_url_file"], form)
	case "telegram":
		r.key = "telegram_configs"
		r.entry, err = telegram(n.Host, path, q)
	case "pushover":
		r.key = "pushover_configs"
		r.entry, err = pushover(n.Host, path, q)
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
			err = errors.New("it must be " + form)
		}
	}
	if err = cmp.Or(q.err, err); err != nil {
		return r, err
	}
	if err := q.unused(); err != nil {
		return r, fmt.Errorf("%w; it must be %s", err, form)
	}
	return r, nil
}

// onlyFile checks the URL of a kind whose address is a secret as a whole.
func (n NotifyURL) onlyFile(file any, form string) error {
	if n.Host != "" || strings.Trim(n.Path, "/") != "" {
		return errors.New("the address is a secret and must not be on the command line; it must be " + form)
	}
	if file == nil {
		return errors.New("url_file is missing; it must be " + form)
	}
	return nil
}

const link = `{{ template "clanmon.link" . }}`

// styled is an entry with our texts in a style; body is what its kind calls the message.
func styled(style, body string) map[string]any {
	return map[string]any{
		"send_resolved": true,
		"title":         fmt.Sprintf(`{{ template "clanmon.title.%s" . }}`, style),
		body:            fmt.Sprintf(`{{ template "clanmon.text.%s" . }}`, style),
	}
}

func telegram(chat, path string, q *options) (map[string]any, error) {
	form := formOf("telegram")
	entry := map[string]any{
		"send_resolved": true, "parse_mode": "HTML",
		"message": `{{ template "clanmon.sign" . }} <b>{{ template "clanmon.title.telegram" . }}</b>` + "\n" + `{{ template "clanmon.text.telegram" . }}`,
	}
	q.rename(entry, "token_file", "bot_token_file")
	q.rename(entry, "chat_file", "chat_id_file")
	q.number(entry, "thread", 1, math.MaxInt32)
	if thread, ok := entry["thread"]; ok {
		delete(entry, "thread")
		entry["message_thread_id"] = thread
	}
	q.copy(entry, "api_url")
	switch id, err := strconv.ParseInt(chat, 10, 64); {
	case path != "" || strings.Contains(chat, ":"):
		return nil, errors.New("a token must not be on the command line; it must be " + form)
	case chat == "" && entry["chat_id_file"] == nil:
		return nil, errors.New("the chat is missing; it must be " + form)
	case chat != "" && (err != nil || id == 0):
		return nil, fmt.Errorf("chat %q must be the number of a chat, such as 123456789, or -1001234567890 for a group; https://api.telegram.org/bot<token>/getUpdates lists those that wrote to the bot", chat)
	case chat != "" && entry["chat_id_file"] != nil:
		return nil, errors.New("only one of the chat and chat_file can be set")
	case chat != "":
		entry["chat_id"] = id
	}
	if entry["bot_token_file"] == nil {
		return nil, errors.New("token_file is missing; it must be " + form)
	}
	if api, ok := entry["api_url"].(string); ok {
		if u, err := url.Parse(api); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
			return nil, errors.New("api_url must be https://HOST of your own Bot API server")
		}
	}
	return entry, nil
}

// keyLength is that of all keys of Pushover.
const keyLength = 30

func pushover(user, path string, q *options) (map[string]any, error) {
	form := formOf("pushover")
	entry := map[string]any{
		"send_resolved": true, "title": `{{ template "clanmon.title" . }}`, "message": `{{ template "clanmon.text" . }}`,
		"url": link, "url_title": "Open in clanmon", "priority": `{{ template "clanmon.priority" . }}`,
	}
	q.copy(entry, "token_file", "device", "sound")
	q.rename(entry, "user_file", "user_key_file")
	q.number(entry, "priority", -2, 2)
	entry["priority"] = fmt.Sprint(entry["priority"])
	switch {
	case path != "":
		return nil, errors.New("the token of the application must not be on the command line; it must be " + form)
	case user == "" && entry["user_key_file"] == nil:
		return nil, errors.New("the user key is missing; it must be " + form)
	case user != "" && entry["user_key_file"] != nil:
		return nil, errors.New("only one of the user key and user_file can be set")
	case user != "" && (len(user) != keyLength || strings.ContainsFunc(user, func(r rune) bool { return !alphanumeric(r) })):
		return nil, fmt.Errorf("the user key has %d characters; it must be %d letters and digits, as pushover.net shows it", len(user), keyLength)
	case user != "":
		entry["user_key"] = user
	}
	if entry["token_file"] == nil {
		return nil, errors.New("token_file is missing; it must be " + form)
	}
	return entry, nil
}

func alphanumeric(r rune) bool {
	return '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
}

// options are the parameters of a URL that nobody has asked for yet.
type options struct {
	values url.Values
	err    error // the first in a value
}

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
	if v := o.take(name); v != "" {
		to[as] = v
	}
}

func (o *options) number(to map[string]any, name string, low, high int) {
	v := o.take(name)
	if v == "" {
		return
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < low || n > high {
		o.err = cmp.Or(o.err, fmt.Errorf("%s is %q; it must be a number from %d to %d", name, v, low, high))
	}
	to[name] = n
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

func mail(to string, q *options) (*integration.MailConfig, error) {
	c := &integration.MailConfig{ToFile: q.take("to_file"), EmailConfig: email.EmailConfig{
		NotifierConfig: amcommon.NotifierConfig{VSendResolved: true},
		To:             to, From: q.take("from"), Hello: "localhost",
		Headers:      map[string]string{"Subject": `{{ template "clanmon.title" . }}`},
		Text:         "{{ template \"clanmon.text\" . }}\n" + link + "\n",
		AuthUsername: q.take("username"), AuthPasswordFile: q.take("password_file"),
		TLSConfig: &commonconfig.TLSConfig{},
	}}
	switch {
	case c.ToFile != "" && to != "":
		return nil, errors.New("only one of the address and to_file can be set")
	case c.ToFile == "" && !strings.Contains(to, "@"):
		return nil, fmt.Errorf("%q is not an email address", to)
	}
	smarthost := cmp.Or(q.take("smarthost"), "localhost:25")
	host, port, err := net.SplitHostPort(smarthost)
	if err != nil || host == "" || port == "" {
		return nil, fmt.Errorf("smarthost %q must be HOST:PORT", smarthost)
	}
	c.Smarthost = amcommon.HostPort{Host: host, Port: port}
	// A mail server on this machine needs no TLS.
	tls := host != "localhost" && host != "127.0.0.1" && host != "::1"
	if v := q.take("require_tls"); v != "" {
		if v != "true" && v != "false" {
			return nil, fmt.Errorf("require_tls is %q; it must be true or false", v)
		}
		tls = v == "true"
	}
	c.RequireTLS = &tls
	return c, nil
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
	c := &Config{own: make(map[string][]ownIntegration), plan: o.plan()}
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
	routes := []m{watchdog}
	if c.plan.Digest != "" {
		routes = append(routes, m{"receiver": peopleReceiver, "matchers": []string{fmt.Sprintf("alertname=%q", digestAlert), `severity="info"`}})
	}
	routes = append(routes,
		m{"receiver": screenReceiver, "matchers": []string{`severity=~"info|none"`}},
		m{"matchers": []string{`severity="critical"`, `machine!=""`}, "repeat_interval": "2h"},
		m{"matchers": []string{`severity="critical"`}, "group_by": []string{"alertname"}, "repeat_interval": "2h"},
		m{"matchers": []string{`machine=""`}, "group_by": []string{"alertname"}})
	all := m{"receivers": receivers}
	if len(c.plan.Quiet) > 0 {
		all["time_intervals"] = []m{{"name": quietHours, "time_intervals": quietIntervals(c.plan)}}
		routes = append(routes, m{"matchers": []string{`machine!=""`}})
		for _, notCritical := range routes[len(routes)-2:] {
			notCritical["mute_time_intervals"] = []string{quietHours}
		}
	}
	all["route"] = m{
		"receiver": peopleReceiver, "group_by": []string{"machine"},
		"group_wait": model.Duration(o.GroupWait).String(), "group_interval": "5m", "repeat_interval": "12h",
		"routes": routes,
	}
	text, err := yamlv2.Marshal(all)
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
		rule("ChecksAllFailing", []string{among("CheckFailing", "CheckSlow")}, "from"),
		rule("FilesystemFull", []string{among("FilesystemAlmostFull", "FilesystemFillingUp")}, "machine", "device"),
		rule("FilesystemAlmostFull", []string{among("FilesystemFillingUp")}, "machine", "device"),
		rule("UnitFailed", []string{among("UnitCrashLooping", "UnitStuckStarting")}, "machine", "name"),
		// Between two attempts a unit is starting.
		rule("UnitCrashLooping", []string{among("UnitStuckStarting")}, "machine", "name"),
	}})
}
