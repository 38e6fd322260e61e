package server_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/api/v2/restapi"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/server"
	"github.com/clanmon/clanmon/server/api"
	"github.com/clanmon/clanmon/server/servertest"
)

// routes are all routes of the server, by where they are in the sources: the package and
// the pattern. Each has the requests that it serves and the role that they need once roles
// are configured: anonymous, viewer, operator.
var routes = map[string][]string{
	"api /ping/":                               {"GET /ping/x anonymous", "HEAD /ping/x anonymous", "POST /ping/x/start anonymous"},
	"api /api/v1/":                             {}, // those of v1
	"api path":                                 {}, // as identity has it, and those of the rooms
	"api path/":                                {}, // those of the rooms
	"api GET path":                             {"GET / viewer", "GET /alerts viewer", "GET /m/x viewer"},
	"api /":                                    {}, // those of upstream's web
	"api GET /metrics":                         {"GET /metrics viewer"},
	"api GET /-/healthy":                       {"GET /-/healthy anonymous", "HEAD /-/healthy anonymous"},
	"api GET /-/ready":                         {"GET /-/ready anonymous", "HEAD /-/ready anonymous"},
	"api GET /api/v1/openapi.yaml":             {"GET /api/v1/openapi.yaml viewer"},
	"api GET /debug/pprof/cmdline":             {"GET /debug/pprof/cmdline anonymous"}, // to this machine
	"api GET streamPath":                       {"GET /api/clanmon/v1/stream viewer"},
	"api GET whoamiPath":                       {"GET /api/clanmon/v1/whoami anonymous"},
	"identity GET LoginPath":                   {"GET /-/login anonymous"},
	"identity GET callbackPath":                {"GET /-/login/callback anonymous"},
	"identity POST LogoutPath":                 {"POST /-/logout anonymous"},
	"identity GET LogoutPath":                  {"GET /-/logout anonymous"},
	"checks GET /{$}":                          {"GET /api/clanmon/v1/checks viewer"},
	"checks GET /{name}":                       {"GET /api/clanmon/v1/checks/x viewer"},
	"checks POST /{name}/run":                  {"POST /api/clanmon/v1/checks/x/run operator"},
	"delivery GET /{$}":                        {"GET /api/clanmon/v1/receivers viewer", "GET /api/clanmon/v1/notifications viewer"},
	"delivery POST /test":                      {"POST /api/clanmon/v1/receivers/test operator"},
	"fleet GET /machines":                      {"GET /api/clanmon/v1/machines viewer"},
	"fleet GET /fleet":                         {"GET /api/clanmon/v1/fleet viewer"},
	"fleet GET /discovery":                     {"GET /api/clanmon/v1/discovery viewer"},
	"fleet DELETE /machines/{machine}":         {"DELETE /api/clanmon/v1/machines/x operator"},
	"fleet DELETE /machines/{machine}/targets": {"DELETE /api/clanmon/v1/machines/x/targets operator"},
	"boards GET /{$}":                          {"GET /api/clanmon/v1/boards viewer"},
	"boards GET /{name}":                       {"GET /api/clanmon/v1/boards/x viewer"},
	"boards PUT /{name}":                       {"PUT /api/clanmon/v1/boards/x operator"},
	"boards DELETE /{name}":                    {"DELETE /api/clanmon/v1/boards/x operator"},
	"boards POST /import":                      {"POST /api/clanmon/v1/boards/import operator"},
	"setup /api/clanmon/v1/boards":             {},
	"backup POST /snapshot":                    {}, // on a unix socket
	"server /metrics":                          {}, // of local jobs, on a unix socket
	"setup /api/clanmon/v1/remote-write":       {"GET /api/clanmon/v1/remote-write viewer"},
	"setup /api/clanmon/v1/storage":            {"GET /api/clanmon/v1/storage viewer"},
	"setup /api/clanmon/v1/traffic":            {"GET /api/clanmon/v1/traffic viewer"},
	"setup /api/clanmon/v1/uptime":             {"GET /api/clanmon/v1/uptime viewer"},
	"setup /api/clanmon/v1/shipped-rules":      {"GET /api/clanmon/v1/shipped-rules viewer"},
	"setup /api/clanmon/v1":                    {}, // of fleet
	"setup /api/clanmon/v1/checks":             {},
	"setup /api/clanmon/v1/receivers":          {},
	"setup /api/clanmon/v1/notifications":      {},
	"setup /api/v2":                            {},                                                            // those of v2
	"setup /api/v1/push":                       {"GET /api/v1/push anonymous", "POST /api/v1/push anonymous"}, // machines, which it asks for proof
	"setup /api/clanmon/v1/jobs":               {"GET /api/clanmon/v1/jobs viewer"},
	"setup /api/clanmon/v1/journal":            {"GET /api/clanmon/v1/journal operator"},
	"setup /api/clanmon/v1/processes":          {"GET /api/clanmon/v1/processes operator"},
	"setup /api/clanmon/v1/backfill":           {"GET /api/clanmon/v1/backfill viewer"},
	"setup /api/clanmon/v1/elsewhere":          {"GET /api/clanmon/v1/elsewhere viewer"},
	"setup /api/clanmon/v1/events":             {"GET /api/clanmon/v1/events viewer", "POST /api/clanmon/v1/events operator"},
	"setup /api/clanmon/v1/capacity":           {"GET /api/clanmon/v1/capacity viewer"},
	"setup /api/clanmon/v1/moved":              {"GET /api/clanmon/v1/moved viewer"},
	"setup /api/clanmon/v1/pair":               {"GET /api/clanmon/v1/pair viewer"},
	"setup /api/clanmon/v1/digest":             {"GET /api/clanmon/v1/digest viewer"},
	"delivery GET /schedule":                   {"GET /api/clanmon/v1/receivers/schedule viewer"},
	"v1 GET /alertmanagers":                    {"GET /api/v1/alertmanagers viewer"},
	"v1 GET /alerts":                           {"GET /api/v1/alerts viewer"},
	"v1 GET /features":                         {"GET /api/v1/features viewer"},
	"v1 GET /format_query":                     {"GET /api/v1/format_query viewer"},
	"v1 GET /label/:name/values":               {"GET /api/v1/label/x/values viewer"},
	"v1 GET /labels":                           {"GET /api/v1/labels viewer"},
	"v1 GET /metadata":                         {"GET /api/v1/metadata viewer"},
	"v1 GET /notifications":                    {"GET /api/v1/notifications viewer"},
	"v1 GET /notifications/live":               {"GET /api/v1/notifications/live viewer"},
	"v1 GET /openapi.yaml":                     {"GET /api/v1/openapi.yaml viewer"},
	"v1 GET /parse_query":                      {"GET /api/v1/parse_query viewer"},
	"v1 GET /query":                            {"GET /api/v1/query viewer"},
	"v1 GET /query_cost":                       {"GET /api/v1/query_cost viewer"},
	"v1 GET /query_exemplars":                  {"GET /api/v1/query_exemplars viewer"},
	"v1 GET /query_range":                      {"GET /api/v1/query_range viewer"},
	"v1 GET /query_range_cost":                 {"GET /api/v1/query_range_cost viewer"},
	"v1 GET /rules":                            {"GET /api/v1/rules viewer"},
	"v1 GET /scrape_pools":                     {"GET /api/v1/scrape_pools viewer"},
	"v1 GET /scrape_pools/config":              {"GET /api/v1/scrape_pools/config viewer"},
	"v1 GET /search/label_names":               {"GET /api/v1/search/label_names viewer"},
	"v1 GET /search/label_values":              {"GET /api/v1/search/label_values viewer"},
	"v1 GET /search/metric_names":              {"GET /api/v1/search/metric_names viewer"},
	"v1 GET /series":                           {"GET /api/v1/series viewer"},
	"v1 GET /status/buildinfo":                 {"GET /api/v1/status/buildinfo viewer"},
	"v1 GET /status/config":                    {"GET /api/v1/status/config viewer"},
	"v1 GET /status/flags":                     {"GET /api/v1/status/flags viewer"},
	"v1 GET /status/runtimeinfo":               {"GET /api/v1/status/runtimeinfo viewer"},
	"v1 GET /status/self_metrics":              {"GET /api/v1/status/self_metrics viewer"},
	"v1 GET /status/tsdb":                      {"GET /api/v1/status/tsdb viewer"},
	"v1 GET /status/tsdb/blocks":               {"GET /api/v1/status/tsdb/blocks viewer"},
	"v1 GET /status/walreplay":                 {"GET /api/v1/status/walreplay viewer"},
	"v1 GET /targets":                          {"GET /api/v1/targets viewer"},
	"v1 GET /targets/metadata":                 {"GET /api/v1/targets/metadata viewer"},
	"v1 GET /targets/relabel_steps":            {"GET /api/v1/targets/relabel_steps viewer"},
	"v1 OPTIONS /*path":                        {"OPTIONS /api/v1/query anonymous"},
	"v1 POST /admin/tsdb/clean_tombstones":     {"POST /api/v1/admin/tsdb/clean_tombstones operator"},
	"v1 POST /admin/tsdb/delete_series":        {"POST /api/v1/admin/tsdb/delete_series operator"},
	"v1 POST /admin/tsdb/snapshot":             {"POST /api/v1/admin/tsdb/snapshot operator"},
	"v1 POST /format_query":                    {"POST /api/v1/format_query viewer"},
	"v1 POST /labels":                          {"POST /api/v1/labels viewer"},
	"v1 POST /otlp/v1/metrics":                 {"POST /api/v1/otlp/v1/metrics operator"},
	"v1 POST /parse_query":                     {"POST /api/v1/parse_query viewer"},
	"v1 POST /query":                           {"POST /api/v1/query viewer"},
	"v1 POST /query_cost":                      {"POST /api/v1/query_cost viewer"},
	"v1 POST /query_exemplars":                 {"POST /api/v1/query_exemplars viewer"},
	"v1 POST /query_range":                     {"POST /api/v1/query_range viewer"},
	"v1 POST /query_range_cost":                {"POST /api/v1/query_range_cost viewer"},
	"v1 POST /read":                            {"POST /api/v1/read viewer"},
	"v1 POST /search/label_names":              {"POST /api/v1/search/label_names viewer"},
	"v1 POST /search/label_values":             {"POST /api/v1/search/label_values viewer"},
	"v1 POST /search/metric_names":             {"POST /api/v1/search/metric_names viewer"},
	"v1 POST /series":                          {"POST /api/v1/series viewer"},
	"v1 POST /write":                           {"POST /api/v1/write operator"},
	"v1 PUT /admin/tsdb/clean_tombstones":      {"PUT /api/v1/admin/tsdb/clean_tombstones operator"},
	"v1 PUT /admin/tsdb/delete_series":         {"PUT /api/v1/admin/tsdb/delete_series operator"},
	"v1 PUT /admin/tsdb/snapshot":              {"PUT /api/v1/admin/tsdb/snapshot operator"},
	"v2 DELETE /silence/{silenceID}":           {"DELETE /api/v2/silence/00000000-0000-0000-0000-000000000000 operator"},
	"v2 GET /alerts":                           {"GET /api/v2/alerts viewer"},
	"v2 GET /alerts/groups":                    {"GET /api/v2/alerts/groups viewer"},
	"v2 GET /receivers":                        {"GET /api/v2/receivers viewer"},
	"v2 GET /silence/{silenceID}":              {"GET /api/v2/silence/00000000-0000-0000-0000-000000000000 viewer"},
	"v2 GET /silences":                         {"GET /api/v2/silences viewer"},
	"v2 GET /status":                           {"GET /api/v2/status viewer"},
	"v2 POST /alerts":                          {"POST /api/v2/alerts operator"},
	"v2 POST /silences":                        {"POST /api/v2/silences operator"},
	"web GET /":                                {"GET / viewer"},
	"web GET /-/healthy":                       {"GET /-/healthy anonymous"},
	"web GET /-/quit":                          {"GET /-/quit viewer"},
	"web GET /-/ready":                         {"GET /-/ready anonymous"},
	"web GET /-/reload":                        {"GET /-/reload viewer"},
	"web GET /consoles/*filepath":              {"GET /consoles/x viewer"},
	"web GET /debug/*subpath":                  {"GET /debug/pprof/cmdline anonymous"},
	"web GET /federate":                        {"GET /federate viewer"},
	"web GET /graph":                           {"GET /graph viewer"},
	"web GET /metrics":                         {"GET /metrics viewer"},
	"web GET /user/*filepath":                  {"GET /user/x viewer"},
	"web GET /version":                         {"GET /version viewer"},
	"web GET p":                                {"GET /config viewer"},
	"web GET reactStaticAssetsDir+/*filepath":  {"GET /assets/x viewer"},
	"web HEAD /-/healthy":                      {"HEAD /-/healthy anonymous"},
	"web HEAD /-/ready":                        {"HEAD /-/ready anonymous"},
	"web POST /-/quit":                         {"POST /-/quit operator"},
	"web POST /-/reload":                       {"POST /-/reload operator"},
	"web POST /debug/*subpath":                 {"POST /debug/pprof/symbol anonymous"},
	"web PUT /-/quit":                          {"PUT /-/quit operator"},
	"web PUT /-/reload":                        {"PUT /-/reload operator"},
}

// sources are the keys that routes must have: every pattern that a package of the server
// registers, and what upstream's packages serve.
func sources(t *testing.T) []string {
	t.Helper()
	found := make(map[string]bool)
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasSuffix(d.Name(), "test") { // packages for tests
			return fs.SkipDir
		}
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		text := func(e ast.Expr) string {
			var b strings.Builder
			_ = printer.Fprint(&b, files, e)
			return strings.NewReplacer(`"`, "", "base + ", "", "base+", "", " + ", "", "+", "").Replace(b.String())
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if s, ok := n.Fun.(*ast.SelectorExpr); ok && (s.Sel.Name == "Handle" || s.Sel.Name == "HandleFunc") && len(n.Args) == 2 && text(n.Args[0]) != "ctx" { // but a slog.Handler
					found[file.Name.Name+" "+text(n.Args[0])] = true
				}
			case *ast.FuncDecl:
				if n.Name.Name == "mounts" {
					ast.Inspect(n, func(n ast.Node) bool {
						if l, ok := n.(*ast.BasicLit); ok && strings.HasPrefix(l.Value, `"/`) {
							found["setup "+text(l)] = true
						}
						return true
					})
				}
			}
			return true
		})
		return nil
	}))
	upstream, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/prometheus/prometheus").Output()
	require.NoError(t, err)
	registered := regexp.MustCompile(`\br(?:outer)?\.(Get|Post|Put|Del|Head|Options)\(((?:\w+\+)?"?[^",]+"?|p), `)
	for name, file := range map[string]string{"v1": "web/api/v1/api.go", "web": "web/web.go"} {
		source, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(upstream)), file))
		require.NoError(t, err)
		for _, m := range registered.FindAllStringSubmatch(string(source), -1) {
			found[name+" "+strings.ToUpper(m[1])+" "+strings.ReplaceAll(m[2], `"`, "")] = true
		}
	}
	var v2 struct {
		Paths map[string]map[string]json.RawMessage
	}
	require.NoError(t, json.Unmarshal(restapi.SwaggerJSON, &v2))
	for path, methods := range v2.Paths {
		for method := range methods {
			if method != "parameters" {
				found["v2 "+strings.ToUpper(method)+" "+path] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// No route is forgotten: each needs a row, and is served to exactly those who have the
// role of the row.
func TestWhoMaySendWhat(t *testing.T) {
	require.Equal(t, slices.Sorted(maps.Keys(routes)), sources(t), "routes: add a row for a new route, with the role that it needs")
	tokens := filepath.Join(t.TempDir(), "tokens")
	require.NoError(t, os.WriteFile(tokens, fmt.Appendf(nil, "v viewer %x\no operator %x\n", sha256.Sum256([]byte("viewer")), sha256.Sum256([]byte("operator"))), 0o600))
	s := servertest.Start(t, "", func(o *server.Options) {
		o.Identity.TokenFiles, o.Identity.Viewers = []string{tokens}, []string{"nobody"}
		o.Writes = api.WritesAuto
	})
	open := servertest.Start(t, "", nil) // without identity
	roles := []string{"anonymous", "viewer", "operator"}
	for source, rows := range routes {
		for _, row := range rows {
			fields := strings.Fields(row)
			method, path, needed := fields[0], fields[1], slices.Index(roles, fields[2])
			require.GreaterOrEqual(t, needed, 0, row)
			for role, name := range roles {
				code, why := send(t, s, method, path, name)
				if role >= needed {
					require.Empty(t, why, "%s: %s by %s", source, row, name)
					continue
				}
				require.Contains(t, why, "for "+roles[needed]+"s: ", "%s: %s by %s", source, row, name)
				want := http.StatusForbidden
				if role == 0 && (method == http.MethodGet || strings.HasPrefix(why, "this")) {
					want = http.StatusUnauthorized
				}
				require.Equal(t, want, code, "%s: %s by %s", source, row, name)
			}
			_, why := send(t, open, method, path, "anonymous")
			require.Empty(t, why, "%s: %s without identity", source, row)
		}
	}
}

// send returns the status, and why a role was refused; "" if it was not.
func send(t *testing.T, s *servertest.Server, method, path, role string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, s.URL(path), strings.NewReader("{}"))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	if role != "anonymous" {
		r.Header.Set("Authorization", "Bearer "+role)
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(t, err, "%s %s", method, path)
	defer res.Body.Close() // without reading what does not end
	if res.StatusCode != http.StatusUnauthorized && res.StatusCode != http.StatusForbidden {
		return res.StatusCode, ""
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, 4096))
	require.NoError(t, err)
	if why := regexp.MustCompile(`(?i)(this is|changes are) for \w+: [^"]*`).FindString(string(body)); why != "" {
		return res.StatusCode, why
	}
	return res.StatusCode, ""
}
