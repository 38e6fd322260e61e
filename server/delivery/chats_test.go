package delivery

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/notify"
	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"
)

// The secrets of the stand-ins.
const (
	chatToken = "123456:s3cret-AAF-token"
	userKey   = "uQiRzpo4DXghDmr9QzzfQu27cmVRsG"
	appToken  = "azGDORePK8gMaC0QOYAMyEEuzJnyUi"
)

// chatService stands in for the four services. It is as strict as they are documented to
// be: what they refuse it refuses with their words.
type chatService struct {
	*httptest.Server
	mu     sync.Mutex
	got    []sent
	answer func(w http.ResponseWriter) // instead of the usual one; nil for that
}

// sent is a message as its reader sees it.
type sent struct{ title, text, link, priority string }

// respond makes it respond with answer; nil is as usual.
func (s *chatService) respond(answer func(w http.ResponseWriter)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *chatService) last() sent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got[len(s.got)-1]
}

func (s *chatService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answer != nil {
		s.answer(w)
		return
	}
	switch {
	case strings.HasPrefix(r.URL.Path, "/bot"):
		s.telegram(w, r)
	case r.URL.Path == "/api/webhooks/1/s3cret":
		s.discord(w, r)
	case r.URL.Path == "/1/messages.json":
		s.pushover(w, r)
	case r.URL.Path == "/workflows/1/triggers/manual/paths/invoke" && r.URL.Query().Get("sig") == "s3cret":
		s.teams(w, r)
	default:
		http.Error(w, `{"message": "404: Not Found", "code": 0}`, http.StatusNotFound)
	}
}

func refuse(w http.ResponseWriter, code int, format string, args ...any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	fmt.Fprintf(w, format, args...)
}

// entity is one that Telegram knows.
var entity = regexp.MustCompile(`^&(lt|gt|amp|quot|#[0-9]+|#x[0-9a-fA-F]+);`)

func (s *chatService) telegram(w http.ResponseWriter, r *http.Request) {
	bad := func(code int, why string) {
		refuse(w, code, `{"ok":false,"error_code":%d,"description":%q}`, code, why)
	}
	var m struct {
		ChatID    string `json:"chat_id"`
		Text      string `json:"text"`
		ParseMode string `json:"parse_mode"`
	}
	if r.URL.Path != "/bot"+chatToken+"/sendMessage" {
		bad(http.StatusUnauthorized, "Unauthorized")
		return
	}
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
		bad(http.StatusBadRequest, "Bad Request: can't parse JSON: "+err.Error())
		return
	}
	if m.ChatID != "-1001234567890" {
		bad(http.StatusBadRequest, "Bad Request: chat not found")
		return
	}
	if m.ParseMode != "HTML" {
		bad(http.StatusBadRequest, "Bad Request: unsupported parse_mode")
		return
	}
	for i, c := range m.Text {
		if c == '&' && !entity.MatchString(m.Text[i:]) {
			bad(http.StatusBadRequest, fmt.Sprintf("Bad Request: can't parse entities: unsupported entity at byte offset %d", i))
			return
		}
	}
	var got sent
	var open []string
	text := ""
	for z := html.NewTokenizer(strings.NewReader(m.Text)); ; {
		kind := z.Next()
		if kind == html.ErrorToken {
			break
		}
		t := z.Token()
		switch kind {
		case html.TextToken:
			text += t.Data
			if len(open) > 0 && open[0] == "b" && got.title == "" {
				got.title = t.Data
			}
		case html.StartTagToken:
			open = append(open, t.Data)
			switch t.Data {
			case "b":
			case "a":
				got.link = t.Attr[0].Val
			default:
				bad(http.StatusBadRequest, fmt.Sprintf("Bad Request: can't parse entities: Unsupported start tag %q", t.Data))
				return
			}
		case html.EndTagToken:
			if len(open) == 0 || open[len(open)-1] != t.Data {
				bad(http.StatusBadRequest, "Bad Request: can't parse entities: Unmatched end tag")
				return
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		bad(http.StatusBadRequest, "Bad Request: can't parse entities: Can't find end tag corresponding to start tag")
		return
	}
	if utf8.RuneCountInString(text) > 4096 || strings.TrimSpace(text) == "" {
		bad(http.StatusBadRequest, "Bad Request: message is too long")
		return
	}
	got.text = text
	s.got = append(s.got, got)
	io.WriteString(w, `{"ok":true,"result":{"message_id":7,"date":1700000000,"chat":{"id":-1001234567890,"type":"supergroup"}}}`)
}

// shownMarkdown is what is seen of a text: an error where it has markup that is not ours.
func shownMarkdown(text string) (shown, link string, err error) {
	text = regexp.MustCompile(`\[Open in clanmon\]\((\S+)\)`).ReplaceAllStringFunc(text, func(l string) string {
		link = l[len("[Open in clanmon](") : len(l)-1]
		return "Open in clanmon"
	})
	text = regexp.MustCompile(`(?m)^\*\*(.*)\*\*$`).ReplaceAllString(text, "$1") // lines of ours
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+1 < len(text) {
			i++
			shown += text[i : i+1]
			continue
		}
		if strings.ContainsRune("*_~|`<>[]", rune(text[i])) {
			return "", "", fmt.Errorf("%q is markup in %q", text[i], text)
		}
		shown += text[i : i+1]
	}
	return shown, link, nil
}

func (s *chatService) discord(w http.ResponseWriter, r *http.Request) {
	var m struct {
		Content string `json:"content"`
		Embeds  []struct {
			Title, Description string
		} `json:"embeds"`
	}
	bad := func(field, why string) {
		refuse(w, http.StatusBadRequest, `{"message": "Invalid Form Body", "code": 50035, "errors": {%q: {"_errors": [{"message": %q}]}}}`, field, why)
	}
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil || r.Header.Get("Content-Type") != "application/json" {
		refuse(w, http.StatusBadRequest, `{"message": "The request body contains invalid JSON.", "code": 50109}`)
		return
	}
	if utf8.RuneCountInString(m.Content) > 2000 || len(m.Embeds) != 1 {
		bad("content", "Must be 2000 or fewer in length.")
		return
	}
	e := m.Embeds[0]
	if utf8.RuneCountInString(e.Title) > 256 || utf8.RuneCountInString(e.Description) > 4096 {
		bad("embeds", "Must be 4096 or fewer in length.")
		return
	}
	title, _, err1 := shownMarkdown(e.Title)
	text, link, err2 := shownMarkdown(e.Description)
	if err1 != nil || err2 != nil {
		bad("embeds", fmt.Sprint(err1, err2))
		return
	}
	s.got = append(s.got, sent{title: title, text: text, link: link})
	w.WriteHeader(http.StatusNoContent)
}

func (s *chatService) pushover(w http.ResponseWriter, r *http.Request) {
	bad := func(why string) {
		refuse(w, http.StatusBadRequest, `{"errors":[%q],"status":0,"request":"1"}`, why)
	}
	_ = r.ParseForm()
	m := r.Form
	switch long := func(name string, most int) bool { return utf8.RuneCountInString(m.Get(name)) > most }; {
	case m.Get("token") != appToken:
		bad("application token is invalid")
	case m.Get("user") != userKey:
		bad("user identifier is not a valid user, group, or subscribed user key")
	case m.Get("message") == "":
		bad("message cannot be blank")
	case long("message", 1024), long("title", 250), long("url", 512), long("url_title", 100):
		bad("message is too long")
	case !strings.Contains(" -2 -1 0 1 2 ", " "+m.Get("priority")+" "):
		bad("priority is invalid")
	default:
		s.got = append(s.got, sent{title: m.Get("title"), text: m.Get("message"), link: m.Get("url"), priority: m.Get("priority")})
		io.WriteString(w, `{"status":1,"request":"1"}`)
	}
}

func (s *chatService) teams(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if len(body) > 28<<10 {
		refuse(w, http.StatusRequestEntityTooLarge, `{"error":{"code":"RequestEntityTooLarge"}}`)
		return
	}
	var m struct {
		Type        string
		Attachments []struct {
			ContentType string
			Content     struct {
				Type, Version string
				Body          []struct{ Type, Text string }
			}
		}
	}
	if err == nil {
		err = json.Unmarshal(body, &m)
	}
	if err != nil || m.Type != "message" || len(m.Attachments) != 1 || m.Attachments[0].ContentType != "application/vnd.microsoft.card.adaptive" ||
		m.Attachments[0].Content.Type != "AdaptiveCard" || len(m.Attachments[0].Content.Body) != 2 {
		refuse(w, http.StatusBadRequest, `{"error":{"code":"InvalidRequestContent"}}`)
		return
	}
	blocks := m.Attachments[0].Content.Body
	title, _, err1 := shownMarkdown(blocks[0].Text)
	text, link, err2 := shownMarkdown(blocks[1].Text)
	if err1 != nil || err2 != nil || regexp.MustCompile(`[^\n]\n[^\n]`).MatchString(text) {
		refuse(w, http.StatusBadRequest, `{"error":{"message":%q}}`, fmt.Sprint(err1, err2))
		return
	}
	s.got = append(s.got, sent{title: title, text: text, link: link})
	w.WriteHeader(http.StatusAccepted)
}

// newChats returns the stand-in and, by kind, an integration that sends to it as a
// --notify with files of secrets makes one.
func newChats(t *testing.T) (*chatService, map[string]*recorded) {
	t.Helper()
	s := &chatService{}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	// Pushover's address cannot be configured: a proxy answers for it.
	secure := httptest.NewUnstartedServer(s)
	secure.EnableHTTP2 = false
	secure.StartTLS()
	t.Cleanup(secure.Close)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != "api.pushover.net:443" {
			http.Error(w, "only api.pushover.net", http.StatusForbidden)
			return
		}
		there, err := net.Dial("tcp", secure.Listener.Addr().String())
		if err != nil {
			return
		}
		defer there.Close()
		here, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer here.Close()
		io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(there, bufio.NewReader(buffered)) }()
		_, _ = io.Copy(here, there)
	}))
	t.Cleanup(proxy.Close)
	ca := write(t, "ca", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})))

	o := Options{ExternalURL: &url.URL{Scheme: "https", Host: "mon.example.org", Path: "/clan"}, Logger: promslog.NewNopLogger()}
	for _, u := range []string{
		"telegram://-1001234567890?token_file=" + write(t, "token", chatToken+"\n") + "&api_url=" + s.URL,
		"discord://?url_file=" + write(t, "url", s.URL+"/api/webhooks/1/s3cret\n"),
		"pushover://?user_file=" + write(t, "user", userKey) + "&token_file=" + write(t, "token", appToken),
		"msteams://?url_file=" + write(t, "url", s.URL+"/workflows/1/triggers/manual/paths/invoke?api-version=1&sig=s3cret"),
	} {
		n, err := ParseNotifyURL(u)
		require.NoError(t, err, u)
		o.Notify = append(o.Notify, n)
	}
	c, err := defaultConfig(o)
	require.NoError(t, err)
	through := *c.Receivers[0].PushoverConfigs[0].HTTPConfig
	through.ProxyURL = commonconfig.URL{URL: must(url.Parse(proxy.URL))}
	through.TLSConfig = commonconfig.TLSConfig{CAFile: ca, ServerName: "example.com", MinVersion: commonconfig.TLSVersion(tls.VersionTLS12)}
	c.Receivers[0].PushoverConfigs[0].HTTPConfig = &through
	b, err := c.build(o, o.Logger)
	require.NoError(t, err)
	all := make(map[string]*recorded)
	for _, r := range newReceiverBook(b, nil)[peopleReceiver] {
		if r.inner.Name() != logKind {
			all[strings.TrimSuffix(r.inner.Name(), "v2")] = r
		}
	}
	require.Len(t, all, 4)
	return s, all
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// about sends alerts of machine web1.
func about(t *testing.T, r *recorded, alerts ...*alert.Alert) notify.NotifyVerdict {
	ctx, cancel := context.WithTimeout(notificationContext(t.Context(), r.receiver, "any", time.Now()), 10*time.Second)
	defer cancel()
	return r.send(notify.WithGroupLabels(ctx, model.LabelSet{"machine": "web1"}), alerts)
}

func alertOf(name, severity, summary, description string) *alert.Alert {
	now := time.Now()
	return alert.New(model.Alert{
		StartsAt: now, EndsAt: now.Add(time.Hour), GeneratorURL: "https://mon.example.org/clan/query?g0.expr=up",
		Labels:      model.LabelSet{"alertname": model.LabelValue(name), "severity": model.LabelValue(severity), "machine": "web1"},
		Annotations: model.LabelSet{"summary": model.LabelValue(summary), "description": model.LabelValue(description)},
	}, now, false)
}

// hostileText has whatever means something to one of the services.
const hostileText = `a_b_c *x* **y** ~~z~~ ||s|| [l](http://evil) <b>&amp;</b> <!channel> @everyone #1 back` + "`tick`" + ` \ end & "q" 'r'`

func TestChatsShowTheAlert(t *testing.T) {
	s, all := newChats(t)
	for kind, r := range all {
		a := alertOf("UnitFailed", "critical", "web1: borgbackup-job_home.service has failed", hostileText+"\nsecond line")
		require.NoError(t, about(t, r, a).Err(), kind)
		got := s.last()
		require.Contains(t, got.title, "Critical: web1: borgbackup-job_home.service has failed", kind)
		require.Contains(t, strings.ReplaceAll(got.text, "\n\n", "\n"), hostileText+"\nsecond line", kind)
		require.Equal(t, "https://mon.example.org/clan/alerts?alert="+a.Fingerprint().String()+"+UnitFailed+web1", got.link, kind)
		require.NotContains(t, got.text, "g0.expr", kind)

		ended := alertOf("UnitFailed", "critical", hostileText, "over")
		ended.StartsAt, ended.EndsAt = time.Now().Add(-time.Hour), time.Now().Add(-time.Minute)
		require.NoError(t, about(t, r, ended).Err(), kind)
		require.Contains(t, s.last().title, "Resolved: ", kind)

		// Many, each as long as can be.
		var many []*alert.Alert
		for i := range 60 {
			x := alertOf(fmt.Sprint("A", i), "warning", strings.Repeat(hostileText, 50), strings.Repeat("ä_", 5000))
			if i%3 == 0 {
				x.StartsAt, x.EndsAt = ended.StartsAt, ended.EndsAt
			}
			many = append(many, x)
		}
		require.NoError(t, about(t, r, many...).Err(), kind)
		got = s.last()
		require.Contains(t, got.title, "web1: 40 × alerts", kind)
		require.Equal(t, "https://mon.example.org/clan/alerts?q=web1", got.link, kind)
		if kind != "pushover" { // which has room for a few only
			require.Regexp(t, "Showing [0-9]+ of 40 firing alerts.", got.text, kind)
			require.Regexp(t, "Showing [0-9]+ of 20 resolved alerts.|Resolved: .*", got.text, kind)
		}
		require.NoError(t, about(t, r, alertOf("A", "info", strings.Repeat("&_", 5000), strings.Repeat("<_", 5000))).Err(), kind)
		require.NoError(t, about(t, r, testAlert(time.Now())).Err(), kind)
		require.Equal(t, "https://mon.example.org/clan/alerts", s.last().link, kind)
	}
}

func TestPushoverPriorityFollowsTheSeverity(t *testing.T) {
	s, all := newChats(t)
	for severity, want := range map[string]string{"critical": "1", "warning": "0", "info": "-1"} {
		require.NoError(t, about(t, all["pushover"], alertOf("B", severity, "b", ""), alertOf("A", "info", "a", "")).Err())
		require.Equal(t, want, s.last().priority)
	}
	ended := alertOf("A", "critical", "a", "")
	ended.StartsAt, ended.EndsAt = time.Now().Add(-time.Hour), time.Now().Add(-time.Minute)
	require.NoError(t, about(t, all["pushover"], ended).Err())
	require.Equal(t, "-1", s.last().priority)
}

// What a service refuses for good is not sent again, what it limits is, when it says so;
// and no answer brings a secret to light.
func TestChatsThatRefuse(t *testing.T) {
	s, all := newChats(t)
	a := alertOf("A", "warning", "a", "b")
	for kind, r := range all {
		answers := []struct {
			code  int
			body  string
			retry bool
			wait  time.Duration
		}{
			{429, `{"message": "You are being rate limited.", "retry_after": 1.5, "global": false}`, true, 1500 * time.Millisecond},
			{429, `{"error":{"code":"429"}}`, true, 0},
			{400, `{"description":"Bad Request", "error_code": 400}`, false, 0},
			{404, `{"message": "Unknown Webhook", "code": 10015}`, false, 0},
			{500, `oops`, true, 0},
		}
		if kind == "telegram" {
			answers[0].body = `{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 3","parameters":{"retry_after":3}}`
			answers[0].wait = 3 * time.Second
			answers[1].body = `{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 0","parameters":{"retry_after":0}}`
			answers[2].body = `{"ok":false,"error_code":400,"description":"Bad Request: chat not found"}`
			answers[3].body = `{"ok":false,"error_code":403,"description":"Forbidden: bot was blocked by the user"}`
			answers[4].body = `{"ok":false,"error_code":500,"description":"Internal Server Error"}`
		}
		for _, x := range answers {
			body := x.body
			if kind != "telegram" { // which is read as JSON
				body += " " + chatToken + " " + appToken + " " + userKey
			}
			s.respond(func(w http.ResponseWriter) { refuse(w, x.code, "%s", body) })
			v := about(t, r, a)
			require.Error(t, v.Err(), kind)
			require.Equal(t, x.retry, v.ShouldRetry(), "%s %d: %v", kind, x.code, v.Err())
			require.Equal(t, x.wait, v.Delay(), "%s %d: %v", kind, x.code, v.Err())
			for _, secret := range []string{chatToken, appToken, userKey, "s3cret"} {
				require.NotContains(t, v.Err().Error(), secret, kind)
			}
		}
		s.respond(func(http.ResponseWriter) { panic(http.ErrAbortHandler) })
		v := about(t, r, a)
		require.Error(t, v.Err(), kind)
		require.True(t, v.ShouldRetry(), kind)
		for _, secret := range []string{chatToken, appToken, userKey, "s3cret"} {
			require.NotContains(t, v.Err().Error(), secret, kind)
		}
		s.respond(nil)
	}
}

// A mail address and a Matrix room are private too: each may be in a file, is read anew for
// each message, and shows nowhere.
func TestRecipientsInFiles(t *testing.T) {
	smtp, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer smtp.Close()
	recipients := make(chan string, 10)
	go func() {
		for {
			c, err := smtp.Accept()
			if err != nil {
				return
			}
			r := bufio.NewReader(c)
			io.WriteString(c, "220 here\r\n")
			for line, err := r.ReadString('\n'); err == nil; line, err = r.ReadString('\n') {
				switch {
				case strings.HasPrefix(line, "RCPT TO:"):
					recipients <- strings.TrimSpace(line[len("RCPT TO:"):])
					fmt.Fprintf(c, "550 nobody here is %s\r\n", line[len("RCPT TO:"):len(line)-2])
				default:
					io.WriteString(c, "250 go on\r\n")
				}
				if strings.HasPrefix(line, "QUIT") {
					break
				}
			}
			c.Close()
		}
	}()
	rooms := make(chan string, 10)
	homeserver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rooms <- r.URL.Path
		http.Error(w, "no such room "+r.URL.Path, http.StatusNotFound)
	}))
	defer homeserver.Close()
	address, room := write(t, "address", "s3cret@example.org\n"), write(t, "room", "!s3cret:example.org\n")
	o := Options{ExternalURL: &url.URL{}, Logger: promslog.NewNopLogger()}
	for _, u := range []string{
		"mailto:?to_file=" + address + "&require_tls=false&smarthost=" + smtp.Addr().String(),
		"mailto:other@example.org?require_tls=false&smarthost=" + smtp.Addr().String(),
		strings.Replace(homeserver.URL, "http://", "matrix+http://", 1) + "?room_file=" + room + "&token_file=" + write(t, "token", "abcdef"),
	} {
		n, err := ParseNotifyURL(u)
		require.NoError(t, err, u)
		require.NotContains(t, n.String(), address)
		o.Notify = append(o.Notify, n)
	}
	send := func() map[string]string {
		results, err := TestConfig(t.Context(), o, peopleReceiver)
		require.NoError(t, err)
		said := make(map[string]string)
		for _, r := range results {
			said[r.Integration] = r.Error
		}
		return said
	}
	said := send()
	require.ElementsMatch(t, []string{"<s3cret@example.org>", "<other@example.org>"}, []string{<-recipients, <-recipients})
	require.Equal(t, "/_matrix/client/v3/rooms/!s3cret:example.org/send/m.room.message/", regexp.MustCompile(`clanmon-.*`).ReplaceAllString(<-rooms, ""))
	require.Contains(t, said["email[0]"], "550")
	require.Contains(t, said["matrix[0]"], "404")
	for integration, text := range said {
		require.NotContains(t, text, "s3cret", integration)
	}
	require.Contains(t, said, "email[1]")

	require.NoError(t, os.WriteFile(address, []byte("new@example.org"), 0o600))
	require.NoError(t, os.WriteFile(room, []byte("ops"), 0o600))
	said = send()
	require.ElementsMatch(t, []string{"<new@example.org>", "<other@example.org>"}, []string{<-recipients, <-recipients})
	require.Contains(t, said["matrix[0]"], "must be an ID")
}
