package fleet

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/scrape"
	"github.com/stretchr/testify/require"
)

// scrapes makes it so that targets fare like this: "job instance" → up or not.
func scrapes(f *Fleet, up map[string]bool) {
	f.opts.Targets = func() map[string][]*scrape.Target {
		all := make(map[string][]*scrape.Target)
		for key, up := range up {
			job, instance, _ := strings.Cut(key, " ")
			machine, _, _ := strings.Cut(instance, ":")
			t := scrape.NewTarget(labels.FromStrings("instance", instance, "machine", machine), nil, nil, nil)
			var err error
			if !up {
				err = syscall.ECONNREFUSED
			}
			t.Report(time.Now(), time.Second, err)
			all[job] = append(all[job], t)
		}
		return all
	}
}

func del(t *testing.T, f *Fleet, path string) (code int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	f.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodDelete, path, nil))
	var answer struct{ Error string }
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
	if w.Code == http.StatusOK {
		return w.Code, w.Body.String()
	}
	return w.Code, answer.Error
}

// An exporter that is gone for good can be forgotten, and stays so, also through a
// restart, until it responds again.
func TestForgetting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, dir := newHosts(), t.TempDir()
		h.set("100.64.0.1:9100", exposition)
		f, stop := gated(t, dir, h)
		given := found("web1")
		f.Merge(given)
		<-f.Changed()
		require.Len(t, addresses(f.Merge(given)["node"]), 2)

		// While it responds it would be back at once.
		scrapes(f, map[string]bool{"node web1:9100": true, "node here:9100": false})
		code, text := del(t, f, "/machines/web1")
		require.Equal(t, http.StatusConflict, code)
		require.Contains(t, text, "web1:9100 (job node) still responds")

		h.mu.Lock()
		delete(h.handlers, "100.64.0.1:9100")
		h.failures["100.64.0.1:9100"] = syscall.ECONNREFUSED
		h.mu.Unlock()
		scrapes(f, map[string]bool{"node web1:9100": false, "node here:9100": false})
		machines := f.answer(t.Context(), nil)
		require.True(t, machines[1].Targets[0].Forgettable)
		require.False(t, machines[0].Targets[0].Forgettable, "it is on a list")
		code, body := del(t, f, "/machines/web1")
		require.Equal(t, http.StatusOK, code)
		require.JSONEq(t, `{"status": "success", "data": {"forgotten": [{"machine": "web1", "job": "node", "instance": "web1:9100"}]}}`, body)
		saved, err := os.ReadFile(filepath.Join(dir, "clanmon-discovered.json"))
		require.NoError(t, err)
		require.NotContains(t, string(saved), "web1", "it is on the disk when that is answered")
		<-f.Changed()
		require.Equal(t, []string{"10.0.0.9:9100"}, addresses(f.Merge(given)["node"]))
		require.Len(t, f.Machines(), 1)
		code, text = del(t, f, "/machines/web1")
		require.Equal(t, http.StatusNotFound, code)
		require.Contains(t, text, "already forgotten")

		// It is asked like any that waits, with back-off, and a restart changes nothing.
		asked := len(h.times("100.64.0.1:9100"))
		time.Sleep(24 * time.Hour)
		more := len(h.times("100.64.0.1:9100")) - asked
		require.Greater(t, more, 24*10)
		require.Less(t, more, 24*12+10)
		stop()
		f, stop = gated(t, dir, h)
		require.Equal(t, []string{"10.0.0.9:9100"}, addresses(f.Merge(given)["node"]))
		h.mu.Lock()
		delete(h.failures, "100.64.0.1:9100")
		h.mu.Unlock()
		h.set("100.64.0.1:9100", exposition)
		<-f.Changed()
		require.Len(t, addresses(f.Merge(given)["node"]), 2, "it responds again")
		stop()
	})
}

// One exporter of a machine can be forgotten, with what other methods know of it.
func TestForgettingOneTarget(t *testing.T) {
	f, _ := newFleet(t, &strings.Builder{}, twoMethods)
	answeredAs(f, "node", "9100", "web1")
	answeredAs(f, "redis", "9121", "web1")
	f.gate.answered[endpoint{"redis", "dns web1:9121"}] = seen{"10.0.0.1:9121", day(time.Now())}
	given := tailnet(tailscale("web1", "100.64.0.1"))
	given["redis"] = append(given["redis"], listed("dns", "web1", "10.0.0.1:9121", "ask", "true"))
	f.Merge(given)
	scrapes(f, map[string]bool{"node web1:9100": true, "redis web1:9121": false})
	code, text := del(t, f, "/machines/web1/targets?job=node&instance=web1:9100")
	require.Equal(t, http.StatusConflict, code)
	require.Contains(t, text, "responds")
	code, _ = del(t, f, "/machines/web1/targets?"+url.Values{"job": {"redis"}, "instance": {"web1:9121"}}.Encode())
	require.Equal(t, http.StatusOK, code)
	merged := f.Merge(given)
	require.Empty(t, addresses(merged["redis"]), "not by the other method either")
	require.Len(t, addresses(merged["node"]), 1)

	for path, want := range map[string]int{
		"/machines/web1/targets?job=mysql":             http.StatusNotFound,
		"/machines/web1/targets":                       http.StatusBadRequest,
		"/machines/nobody":                             http.StatusNotFound,
		"/machines/" + url.PathEscape("a/b\xff"):       http.StatusNotFound,
		"/machines/web1/targets?job=&instance=web1:11": http.StatusNotFound,
	} {
		code, text := del(t, f, path)
		require.Equal(t, want, code, path)
		require.NotEmpty(t, text)
	}
}

// What would come straight back is refused, with where it has to be removed.
func TestForgettingWhatIsWrittenDown(t *testing.T) {
	f, _ := newFleet(t, &strings.Builder{}, twoMethods)
	answeredAs(f, "redis", "9121", "web1")
	given := tailnet(tailscale("web1", "100.64.0.1"))
	given["node"] = []*targetgroup.Group{static("web1", "10.0.0.1:9100"), local("hall", "node")}
	given["mine"] = []*targetgroup.Group{{Source: "mine", Targets: []model.LabelSet{{"__address__": "10.0.0.9:80"}}}}
	f.Merge(given)
	scrapes(f, map[string]bool{"node web1:9100": false, "redis web1:9121": false, "mine own:80": false})
	for path, want := range map[string]string{
		"/machines/web1": "web1:9100 (job node) is listed in the list: remove it there",
		"/machines/hall": "is part of this server: disable it",
		"/machines/own":  "own:80 (job mine) is in the configuration file: remove it there",
	} {
		code, text := del(t, f, path)
		require.Equal(t, http.StatusConflict, code)
		require.Contains(t, text, want)
	}
	require.Len(t, addresses(f.Merge(given)["redis"]), 1, "nothing of it was forgotten")
	code, _ := del(t, f, "/machines/web1/targets?job=redis")
	require.Equal(t, http.StatusOK, code, "what was found can be")
}

// An address that DHCP gave to another machine says nothing about that one; and the
// machine that had it is known at its next address.
func TestAnAddressIsNotAMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosts()
		h.set("10.0.0.5:9100", exposition)
		f, _ := gated(t, "", h)
		at := func(machines ...string) groups {
			g := groups{}
			for i := 0; i < len(machines); i += 2 {
				g["node"] = append(g["node"], listed("dns", machines[i], machines[i+1]+":9100", "ask", "true"))
			}
			return g
		}
		f.Merge(at("pi", "10.0.0.5"))
		<-f.Changed()
		require.Len(t, addresses(f.Merge(at("pi", "10.0.0.5"))["node"]), 1)

		h.mu.Lock()
		delete(h.handlers, "10.0.0.5:9100")
		h.failures["10.0.0.5:9100"] = syscall.ECONNREFUSED
		h.mu.Unlock()
		after := at("phone", "10.0.0.5", "pi", "10.0.0.6")
		require.Equal(t, []string{"10.0.0.6:9100"}, addresses(f.Merge(after)["node"]), "pi is missed there, and phone is no target")
		require.Equal(t, "phone", f.gate.list()[0].Machine)
		time.Sleep(time.Minute)
		require.Equal(t, "refused", f.gate.list()[0].Reason)
		require.Equal(t, seen{"10.0.0.6:9100", day(time.Now())}, f.gate.answered[endpoint{"node", "dns pi:9100"}])

		// Of several addresses of one name, the one that responded is scraped.
		require.Equal(t, []string{"10.0.0.6:9100"}, addresses(f.Merge(at("pi", "10.0.0.4", "pi", "10.0.0.6"))["node"]))
	})
}

// A file of an earlier version, which knew addresses only.
func TestMemoryOfAnEarlierVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		file := filepath.Join(dir, "clanmon-discovered.json")
		old := `{"node": {"100.64.0.1:9100": "` + day(time.Now()) + `", "100.64.0.7:9100": "` + day(time.Now()) + `", "100.64.0.8:9100": "1999-01-01", "x": "nonsense"}}`
		require.NoError(t, os.WriteFile(file, []byte(old), 0o644))
		f, stop := gated(t, dir, newHosts())
		require.Len(t, addresses(f.Merge(found("web1"))["node"]), 2, "it is down while the new version starts: missed all the same")
		stop()
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.JSONEq(t, `{"node": {"tailscale nweb1:9100": "`+day(time.Now())+` 100.64.0.1:9100", "100.64.0.7:9100": "`+day(time.Now())+`"}}`, string(text))
		f, _ = gated(t, dir, newHosts())
		require.Len(t, addresses(f.Merge(found("web1"))["node"]), 2)
	})
}

// Machines that come for an hour, as in a CI, do not pile up in a server that runs
// for years.
func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := newFleet(t, &strings.Builder{}, twoMethods)
		for i := range 200 {
			name := fmt.Sprintf("ci%d", i)
			answered(f, name)
			f.Merge(found(name))
			time.Sleep(24 * time.Hour)
			f.gate.sweep(time.Now())
		}
		require.Len(t, f.gate.answered, 90)
		require.True(t, f.gate.dirty)
	})
}

// What cannot be saved is said.
func TestForgettingOnAFullDisk(t *testing.T) {
	f, _ := newFleet(t, &strings.Builder{}, twoMethods)
	f.gate.file = filepath.Join(t.TempDir(), "missing", "file")
	answered(f, "web1")
	given := groups{"node": {{Source: "ts", Targets: []model.LabelSet{tailscale("web1", "100.64.0.1")}}}}
	f.Merge(given)
	scrapes(f, map[string]bool{"node web1:9100": false})
	code, text := del(t, f, "/machines/web1")
	require.Equal(t, http.StatusInternalServerError, code)
	require.Contains(t, text, "until this server restarts")
}
