package server_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/clanmon/clanmon/server"
	"github.com/clanmon/clanmon/server/api"
	"github.com/clanmon/clanmon/server/servertest"
)

// as sends a request with an Authorization header, and returns the status and the body.
func as(t *testing.T, s *servertest.Server, authorization, method, path, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL(path), strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(answer)
}

func silenceBy(author string) string {
	now := time.Now().UTC()
	return fmt.Sprintf(`{"matchers":[{"name":"machine","value":"x","isRegex":false}],"startsAt":%q,"endsAt":%q,%s"comment":"c"}`,
		now.Format(time.RFC3339), now.Add(time.Hour).Format(time.RFC3339), author)
}

// The author of a silence is who asks, whatever the silence says; and it is known who
// changed something.
func TestWhoChangedSomething(t *testing.T) {
	tokens := filepath.Join(t.TempDir(), "tokens")
	require.NoError(t, os.WriteFile(tokens, fmt.Appendf(nil, "deploy operator %x\ngrafana viewer %x\n", sha256.Sum256([]byte("d")), sha256.Sum256([]byte("g"))), 0o600))
	start := func(writes string) *servertest.Server {
		return servertest.Start(t, "", func(o *server.Options) { o.Identity.TokenFiles, o.Writes = []string{tokens}, writes })
	}
	s := start(api.WritesAuto)
	for _, author := range []string{`"createdBy":"alice",`, ``, `"createdBy":"a","createdBy":"b",`, `"CreatedBy":"alice",`, `"createdby":"x",`} {
		code, answer := as(t, s, "Bearer d", http.MethodPost, "/api/v2/silences", silenceBy(author))
		require.Equal(t, http.StatusOK, code, answer)
	}
	_, silences := as(t, s, "", http.MethodGet, "/api/v2/silences", "")
	require.Equal(t, 5, strings.Count(silences, `"createdBy":"deploy"`), silences)
	for _, body := range []string{"null", "[]", "", "{", `"x"`} {
		code, _ := as(t, s, "Bearer d", http.MethodPost, "/api/v2/silences", body)
		require.True(t, code == http.StatusBadRequest || code == http.StatusUnprocessableEntity, "%s: %d", body, code)
	}
	for _, other := range []string{"Bearer g", "", "Bearer d2"} {
		code, answer := as(t, s, other, http.MethodPost, "/api/v2/silences", silenceBy(`"createdBy":"deploy",`))
		require.Equal(t, http.StatusForbidden, code, answer)
	}
	_, metrics := as(t, s, "", http.MethodGet, "/metrics", "")
	require.Contains(t, metrics, `clanmon_changes_total{role="operator",via="token"} 5`)
	require.Equal(t, 5, strings.Count(s.Log.String(), `msg="Change over HTTP"`))
	require.Contains(t, s.Log.String(), `who=deploy via=token role=operator`)
	require.NotContains(t, s.Log.String(), "Bearer")

	// Alerts come all the time; they are counted.
	code, answer := as(t, s, "Bearer d", http.MethodPost, "/api/v2/alerts", `[{"labels":{"alertname":"x"}}]`)
	require.Equal(t, http.StatusOK, code, answer)
	require.Equal(t, 5, strings.Count(s.Log.String(), `msg="Change over HTTP"`))

	// Who may write without a name cannot take one.
	s = start(api.WritesOpen)
	code, answer = as(t, s, "", http.MethodPost, "/api/v2/silences", silenceBy(`"createdBy":"deploy",`))
	require.Equal(t, http.StatusOK, code, answer)
	_, silences = as(t, s, "", http.MethodGet, "/api/v2/silences", "")
	require.Contains(t, silences, `"createdBy":"deploy (not identified)"`)

	// Without identity it is as in Alertmanager.
	s = servertest.Start(t, "", nil)
	_, _ = as(t, s, "", http.MethodPost, "/api/v2/silences", silenceBy(`"createdBy":"me",`))
	_, silences = as(t, s, "", http.MethodGet, "/api/v2/silences", "")
	require.Contains(t, silences, `"createdBy":"me"`)
}

func TestWhoAmI(t *testing.T) {
	tokens := filepath.Join(t.TempDir(), "tokens")
	require.NoError(t, os.WriteFile(tokens, fmt.Appendf(nil, "deploy operator %x\ngrafana viewer %x\n", sha256.Sum256([]byte("d")), sha256.Sum256([]byte("g"))), 0o600))
	s := servertest.Start(t, "", func(o *server.Options) { o.Identity.TokenFiles, o.Writes = []string{tokens}, api.WritesAuto })
	who := func(authorization string) string {
		_, answer := as(t, s, authorization, http.MethodGet, "/api/clanmon/v1/whoami", "")
		return answer
	}
	require.JSONEq(t, `{"status":"success","data":{"name":"deploy","via":"token","role":"operator","configured":true}}`, who("Bearer d"))
	require.JSONEq(t, `{"status":"success","data":{"name":"grafana","via":"token","role":"viewer","configured":true,
		"changesRefused":"changes are for operators: the token grafana has the role viewer; its line in --web.token-file must say operator"}}`, who("Bearer g"))
	require.JSONEq(t, `{"status":"success","data":{"name":"","via":"none","role":"viewer","configured":true,
		"changesRefused":"changes are for operators: the client is not identified; docs/security.md has the ways to be identified"}}`, who(""))
	s = servertest.Start(t, "", func(o *server.Options) { o.Writes = api.WritesAuto })
	require.JSONEq(t, `{"status":"success","data":{"name":"","via":"none","role":"anonymous","configured":false}}`, who(""))
}

// Tokens of programs and passwords of people live together, on each of several
// addresses; only who has one of them gets an answer.
func TestTokensBesidePasswords(t *testing.T) {
	dir := t.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	require.NoError(t, err)
	web, tokens := filepath.Join(dir, "web.yml"), filepath.Join(dir, "tokens")
	require.NoError(t, os.WriteFile(web, fmt.Appendf(nil, "basic_auth_users: {alice: %q}\n", hash), 0o600))
	require.NoError(t, os.WriteFile(tokens, fmt.Appendf(nil, "ci viewer %x\n", sha256.Sum256([]byte("c"))), 0o600))
	s := servertest.Start(t, "", func(o *server.Options) {
		o.WebConfigFile, o.Identity.TokenFiles, o.Writes = web, []string{tokens}, api.WritesAuto
		o.Web.ListenAddresses = append(o.Web.ListenAddresses, "127.0.0.1:0")
	})
	const password = "Basic YWxpY2U6c2VjcmV0" // alice:secret
	addresses := regexp.MustCompile(`Start listening for connections.* address=(\S+)`).FindAllStringSubmatch(s.Log.String(), -1)
	require.Len(t, addresses, 2)
	for _, address := range addresses {
		for authorization, want := range map[string]int{"": 401, "Bearer x": 401, "Basic YWxpY2U6eA==": 401, password: 200, "Bearer c": 200} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address[1]+"/metrics", nil)
			require.NoError(t, err)
			r.Header.Set("Authorization", authorization)
			res, err := http.DefaultClient.Do(r)
			require.NoError(t, err)
			res.Body.Close()
			require.Equal(t, want, res.StatusCode, authorization)
		}
	}
	_, answer := as(t, s, password, http.MethodGet, "/api/clanmon/v1/whoami", "")
	require.Contains(t, answer, `"name":"alice","role":"operator","via":"password"`)
	code, _ := as(t, s, "Bearer c", http.MethodDelete, "/api/clanmon/v1/machines/x", "")
	require.Equal(t, http.StatusForbidden, code)
	code, _ = as(t, s, password, http.MethodDelete, "/api/clanmon/v1/machines/x", "")
	require.Equal(t, http.StatusNotFound, code)
}

// The file of --clan.settings says who may do what, as the flags do; a flag takes precedence.
func TestIdentityInTheSettings(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tokens"), fmt.Appendf(nil, "deploy operator %x\n", sha256.Sum256([]byte("d"))), 0o600))
	file := filepath.Join(dir, "settings.yml")
	settings := "identity: {operators: [admin], viewers: [identified], tokenFile: tokens}\nlook: {enable: true}\npings: {mail: {token: 00112233445566778899aabbccddeeff}}\n"
	require.NoError(t, os.WriteFile(file, []byte(settings), 0o600))
	require.NoError(t, server.CheckSettings(file, false))
	s := servertest.Start(t, "global: {scrape_interval: 1m}\n", func(o *server.Options) { o.Discovery.SettingsFile = file })
	code, _ := as(t, s, "", http.MethodGet, "/api/v1/query?query=1", "")
	require.Equal(t, http.StatusUnauthorized, code)
	_, me := as(t, s, "Bearer d", http.MethodGet, "/api/clanmon/v1/whoami", "")
	require.Contains(t, me, `"role":"operator"`)
	code, text := as(t, s, "Bearer d", http.MethodGet, "/api/clanmon/v1/journal?machine=none", "")
	require.Equal(t, http.StatusNotFound, code, "looking is on: %s", text)
	code, _ = as(t, s, "", http.MethodGet, "/ping/00112233445566778899aabbccddeeff", "")
	require.Equal(t, http.StatusOK, code)

	// Pings follow the file; for who may do what the server must be restarted, and says so.
	require.NoError(t, os.WriteFile(file, []byte("identity: {operators: [admin]}\npings: {mail: {token: 11112233445566778899aabbccddeeff}}\n"), 0o600))
	s.Reload <- struct{}{}
	require.Eventually(t, func() bool {
		return strings.Count(s.Log.String(), "Completed loading") == 2
	}, time.Minute, 10*time.Millisecond)
	require.Contains(t, s.Log.String(), "sections identity, look, push, backfill and query of --clan.settings changed: restart the server")
	code, _ = as(t, s, "", http.MethodGet, "/ping/00112233445566778899aabbccddeeff", "")
	require.Equal(t, http.StatusNotFound, code)
	code, _ = as(t, s, "", http.MethodGet, "/ping/11112233445566778899aabbccddeeff", "")
	require.Equal(t, http.StatusOK, code)
	code, _ = as(t, s, "", http.MethodGet, "/api/v1/query?query=1", "")
	require.Equal(t, http.StatusUnauthorized, code)

	require.NoError(t, os.WriteFile(file, []byte(settings), 0o600))
	flags := servertest.Start(t, "global: {scrape_interval: 1m}\n", func(o *server.Options) {
		o.Discovery.SettingsFile, o.Identity.Viewers = file, []string{"*"}
	})
	code, _ = as(t, flags, "", http.MethodGet, "/api/v1/query?query=1", "")
	require.Equal(t, http.StatusOK, code)
}

func TestMistakesInTheSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "settings.yml")
	for text, want := range map[string]string{
		"identity: {operators: ['*']}":                                      `--web.operator "*": not allowed; to let everybody make changes, use --web.writes=open without --web.operator (flag, or section identity of --clan.settings "` + file,
		"identity: {header: Remote-User}":                                   "needs --web.trusted-proxy",
		"identity: {oidc: {issuer: 'https://id', clientId: c}}":             "needs --web.viewer",
		"identity: {tokenFile: none}":                                       "none: no such file",
		"identity: {operator: [a]}":                                         "field operator is unknown",
		"pings: {mail: {}}":                                                 "pings.mail: token is missing",
		"identity: {viewers: [a], oidc: {issuer: 'ftp://id', clientId: c}}": "must be an https URL",
	} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		require.ErrorContains(t, server.CheckSettings(file, false), want, text)
		if !strings.Contains(want, "no such file") {
			require.Error(t, server.CheckSettings(file, true), text)
		}
	}
}
