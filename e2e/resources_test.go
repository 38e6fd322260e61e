package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

// What a service uses of CPU and memory is what systemd and the kernel say, also
// for the exporter as a hardened unit without any right.
func TestResourcesOfServices(t *testing.T) {
	t.Parallel()
	b := harness.NewBox(t)
	b.Exec("systemctl", "start", "clanmon-exporter.service", "t-burn.service", "t-leak.service")
	// A container as podman would start it: its scope, and that of its monitor.
	const id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for scope, command := range map[string]string{
		"libpod-conmon-" + id: "exec -a conmon bash -c 'read < /run/never' -c " + id + " -n web",
		"libpod-" + id:        "exec sleep infinity",
	} {
		b.Exec("sh", "-c", "test -p /run/never || mkfifo /run/never; exec systemd-run --quiet --unit="+scope+".scope --scope --slice=machine.slice bash -c \"$1\" >/dev/null 2>&1 &", "sh", command)
	}
	const url = "127.0.0.1:9558/metrics"
	metric := func(text, name, unit string, more ...string) float64 {
		t.Helper()
		labels := append(more, fmt.Sprintf("name=%q", unit), `type="service"`)
		for line := range strings.Lines(text) {
			if rest, ok := strings.CutPrefix(line, name+"{"); ok {
				found := true
				for _, l := range labels {
					found = found && strings.Contains(rest, l)
				}
				if found {
					v, err := harness.MetricIn(line, line[:strings.LastIndex(line, " ")])
					require.NoError(t, err)
					return v
				}
			}
		}
		require.Fail(t, "no such series", "%s %q in\n%s", name, labels, text)
		return 0
	}
	var text string
	harness.Eventually(t, harness.Patience, func() (err error) {
		if text, err = b.Get(url); err == nil && !strings.Contains(text, `name="podman-web.scope"`) {
			err = fmt.Errorf("no podman-web.scope yet")
		}
		return err
	})
	require.NotContains(t, text, `systemd_unit_memory_bytes{kind="current",name="libpod-`+id)

	// It lies still, so the figures stand still, but for what little it takes to
	// look: CPU time to a hundredth of a second, memory to a few pages.
	const unit = "t-burn.service"
	var show, current float64
	_, err := fmt.Sscan(property(b, unit, "MemoryCurrent"), &current)
	require.NoError(t, err)
	require.InDelta(t, current, metric(text, "systemd_unit_memory_bytes", unit, `kind="current"`), 4<<20)
	anon := metric(text, "systemd_unit_memory_bytes", unit, `kind="anon"`)
	require.Greater(t, anon, 40e6, "the 40 MB that it holds")
	require.Less(t, anon, 200e6)
	require.GreaterOrEqual(t, metric(text, "systemd_unit_memory_bytes", unit, `kind="peak"`), anon)
	user := metric(text, "systemd_unit_cpu_seconds_total", unit, `mode="user"`)
	system := metric(text, "systemd_unit_cpu_seconds_total", unit, `mode="system"`)
	require.Greater(t, user, 0.05, "it burned for a while")
	// systemctl only shows CPU time where its controller is to be had in the box.
	_, err = fmt.Sscanf(b.Exec("sh", "-c", "cat /sys/fs/cgroup/unified/system.slice/"+unit+"/cpu.stat /sys/fs/cgroup/system.slice/"+unit+"/cpu.stat 2>/dev/null || true"), "usage_usec %f", &show)
	require.NoError(t, err)
	require.InDelta(t, show/1e6, user+system, 0.1, "CPU time")
	require.Zero(t, metric(text, "systemd_unit_oom_kills_total", unit))
	top := b.Exec("systemd-cgtop", "--batch", "--raw", "--iterations=1", "--depth=2")
	m := regexp.MustCompile(`(?m)^system\.slice/t-burn\.service +\S+ +\S+ +(\d+)`).FindStringSubmatch(top)
	require.NotNil(t, m, top)
	_, err = fmt.Sscan(m[1], &current)
	require.NoError(t, err)
	require.InDelta(t, current, metric(text, "systemd_unit_memory_bytes", unit, `kind="current"`), 4<<20)

	// The other one was let have 40 MiB.
	const leak = "t-leak.service"
	require.GreaterOrEqual(t, metric(text, "systemd_unit_oom_kills_total", leak), 1.0)
	require.InDelta(t, 40<<20, metric(text, "systemd_unit_memory_bytes", leak, `kind="peak"`), 1<<20)
	require.Less(t, metric(text, "systemd_unit_memory_bytes", leak, `kind="current"`), 10e6)

	require.Equal(t, 1.0, success(t, text, "resources"))
	b.Exec("systemctl", "stop", unit)
	text, err = b.Get(url)
	require.NoError(t, err)
	require.NotContains(t, text, `systemd_unit_memory_bytes{kind="current",name="`+unit)
}

func success(t *testing.T, text, collector string) float64 {
	t.Helper()
	v, err := harness.MetricIn(text, fmt.Sprintf("clanmon_exporter_collector_success{collector=%q}", collector))
	require.NoError(t, err)
	return v
}
