package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/discovery/inventory"
	"github.com/clanmon/clanmon/internal/testport"
)

func families(t *testing.T, exposition []byte) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	all, err := parser.TextToMetricFamilies(bytes.NewReader(exposition))
	require.NoError(t, err, "%s", exposition)
	return all
}

// values are the samples by name and labels.
func values(t *testing.T, exposition []byte) map[string]float64 {
	t.Helper()
	all := make(map[string]float64)
	for name, f := range families(t, exposition) {
		for _, s := range f.Metric {
			key := name + fmt.Sprint(s.Label)
			if _, ok := all[key]; ok {
				t.Fatalf("twice: %s", key)
			}
			all[key] = s.GetCounter().GetValue() + s.GetGauge().GetValue()
		}
	}
	return all
}

func TestAFleetIsTheSameEveryTime(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	a, err := New(1000, 1)
	require.NoError(t, err)
	b, err := New(1000, 1)
	require.NoError(t, err)
	other, err := New(1000, 2)
	require.NoError(t, err)
	same := 0
	for i, m := range a.Machines {
		require.Equal(t, m, b.Machines[i])
		if slices.Equal(m.Tags, other.Machines[i].Tags) {
			same++
		}
		if i%100 == 0 {
			require.Equal(t, string(m.Metrics(now, false)), string(b.Machines[i].Metrics(now, false)))
		}
	}
	require.Less(t, same, 500)
}

func TestEveryTroubleIsThere(t *testing.T) {
	for _, n := range []int{42, 1000} {
		f, err := New(n, 1)
		require.NoError(t, err)
		found := map[string]int{}
		fine := 0
		for _, m := range f.Machines {
			for _, w := range m.Wrong {
				found[w]++
			}
			if len(m.Wrong) == 0 {
				fine++
			}
		}
		for _, trouble := range Troubles {
			if !slices.Contains(rare, trouble.Name) { // only machines for storage can have them
				require.NotZero(t, found[trouble.Name], "%s among %d", trouble.Name, n)
			}
		}
		if n == 1000 {
			require.Greater(t, fine, 700)
		}
	}
}

func TestMetricsAreThoseOfAMachine(t *testing.T) {
	f, err := New(100, 1)
	require.NoError(t, err)
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	seen := map[string]bool{}
	for _, m := range f.Machines {
		series := 0
		for _, systemd := range []bool{false, true} {
			kinds := families(t, m.Metrics(now, systemd))
			first, later := values(t, m.Metrics(now, systemd)), values(t, m.Metrics(now.Add(15*time.Second), systemd))
			series += len(first)
			for name := range kinds {
				seen[name] = true
			}
			for key, v := range first {
				name, _, _ := strings.Cut(key, "[")
				next, ok := later[key]
				if !ok || v < 0 || kinds[name].GetType() == dto.MetricType_COUNTER && next < v {
					t.Errorf("%s of %s: %v, then %v", key, m.Name, v, next)
				}
			}
		}
		if !m.has("no systemd") {
			require.Greater(t, series, 200, m.Name)
		}
		require.Less(t, series, 550, m.Name)
	}
	// What the built-in rules read is there, except for hardware and services that these
	// machines lack, for pushing, which they do not, and for what the server says of itself.
	files, err := filepath.Glob("../../../server/ruler/rules/*.yml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	without := regexp.MustCompile(`^(node_(zfs|btrfs|systemd)_|clanmon_(check|(exporter_)?push|notifications|ping|remote_write|storage)_|node_exporter$|systemd_exporter$|nginx_|pg_|redis_)`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, name := range regexp.MustCompile(`\b(node|systemd|clanmon)_[a-zA-Z0-9_]*[a-z]\b`).FindAllString(string(text), -1) {
			if !strings.Contains(file, ".test.") && !without.MatchString(name) {
				require.True(t, seen[name], "%s reads %s", filepath.Base(file), name)
			}
		}
	}
}

func TestMachinesAreToldApartByTheirAddress(t *testing.T) {
	f, err := New(500, 1)
	require.NoError(t, err)
	port, next := testport.Port(t), testport.Port(t)
	for next != port+1 { // where the systemd exporters listen
		port, next = next, testport.Port(t)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Serve(ctx, port) }()

	file := filepath.Join(t.TempDir(), "inventory.json")
	require.NoError(t, f.WriteInventory(file, port))
	machines, refused, err := inventory.Load(file)
	require.NoError(t, err)
	require.Empty(t, refused)
	require.Len(t, machines, 500)
	get := func(m *Machine, port int) (string, error) {
		var r *http.Response
		require.Eventually(t, func() bool {
			r, err = http.Get(fmt.Sprintf("http://%s:%d/metrics", m.Address, port))
			return !errors.Is(err, syscall.ECONNREFUSED) // not listening yet
		}, time.Minute, 10*time.Millisecond)
		if err != nil {
			return "", err
		}
		defer r.Body.Close()
		text, err := io.ReadAll(r.Body)
		return string(text), err
	}
	for i, m := range f.Machines {
		entry := machines[m.Name]
		require.Equal(t, m.Address, entry.Addresses[0])
		require.Equal(t, m.Intermittent, entry.Availability == "intermittent")
		if i%50 != 0 && !m.has("down") {
			continue
		}
		text, err := get(m, port)
		if m.away(time.Now(), false) {
			require.Error(t, err, m.Name)
			continue
		}
		require.NoError(t, err)
		require.Contains(t, text, `nodename="`+m.Name+`"`)
		text, err = get(m, port+1)
		require.NoError(t, err)
		require.Contains(t, text, "systemd_unit_state")
	}
	cancel()
	require.NoError(t, <-done)
}

// Troubles come and go while the fleet runs, and no counter falls but by a reboot.
func TestControl(t *testing.T) {
	f, err := New(42, 1)
	require.NoError(t, err)
	m := f.Machines[slices.IndexFunc(f.Machines, func(m *Machine) bool { return len(m.Wrong) == 0 && m.role.name == "web" })]
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	before := values(t, m.Metrics(now, false))
	fell := func() (all []string) {
		now = now.Add(15 * time.Second)
		kinds, after := families(t, m.Metrics(now, false)), values(t, m.Metrics(now, false))
		for key, v := range after {
			name, _, _ := strings.Cut(key, "[")
			if kinds[name].GetType() == dto.MetricType_COUNTER && v < before[key] {
				all = append(all, key)
			}
		}
		before = after
		return all
	}
	for _, on := range []bool{true, false} {
		for _, trouble := range Troubles {
			require.NoError(t, m.Control(trouble.Name, on, now))
			require.Equal(t, on, m.has(trouble.Name))
			require.Empty(t, fell(), "%s %v", trouble.Name, on)
		}
	}
	require.NoError(t, m.Control("rebooted", true, now))
	require.NotEmpty(t, fell())
	require.Less(t, before["node_boot_time_seconds[]"], float64(now.Unix()))
	require.ErrorContains(t, m.Control("on fire", true, now), "there are: down, flapping")
}

func TestControlByHTTP(t *testing.T) {
	f, err := New(42, 1)
	require.NoError(t, err)
	ask := func(url string) (int, string) {
		w := httptest.NewRecorder()
		f.Handler(true).ServeHTTP(w, httptest.NewRequest(http.MethodGet, url, nil))
		return w.Code, w.Body.String()
	}
	name := f.Machines[0].Name
	code, text := ask("/ctl?m=" + name + "&w=clock")
	require.Equal(t, http.StatusOK, code)
	require.Regexp(t, "(?m)^"+name+" .*clock", text)
	_, text = ask("/ctl?m=" + name + "&w=clock&off=1")
	require.NotRegexp(t, "(?m)^"+name+" .*clock", text)
	code, _ = ask("/ctl?m=nobody&w=clock")
	require.Equal(t, http.StatusNotFound, code)
	code, _ = ask("/ctl?m=" + name + "&w=what")
	require.Equal(t, http.StatusBadRequest, code)
}
