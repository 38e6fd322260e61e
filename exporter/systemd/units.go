package systemd

import (
	"context"
	"math"
	"regexp"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clanmon/clanmon/exporter/internal/units"
)

// stages of booting, in upstream's order.
var stages = []string{
	"Finish", "Firmware", "Loader", "Kernel", "InitRD",
	"InitRDGeneratorsStart", "InitRDGeneratorsFinish", "InitRDSecurityStart", "InitRDSecurityFinish",
	"InitRDUnitsLoadStart", "InitRDUnitsLoadFinish", "GeneratorsStart", "GeneratorsFinish",
	"SecurityStart", "SecurityFinish", "Userspace", "UnitsLoadStart", "UnitsLoadFinish",
}

// times of units: the metric, and systemd's property.
var times = []struct{ metric, property string }{
	{"systemd_unit_active_enter_time_seconds", "ActiveEnterTimestamp"},
	{"systemd_unit_active_exit_time_seconds", "ActiveExitTimestamp"},
	{"systemd_unit_inactive_enter_time_seconds", "InactiveEnterTimestamp"},
	{"systemd_unit_inactive_exit_time_seconds", "InactiveExitTimestamp"},
}

// unitsCollector has the series of upstream's collector, from few questions to
// systemd. Upstream describes its metrics, all but those of times.
type unitsCollector struct {
	manager *units.Manager
	wanted  func(unit string) bool
	descs   map[string]*prometheus.Desc
	timers  *timers
	jobs    units.Jobs

	all      bool // all of upstream's series, also those that say nothing
	restarts bool
	traffic  bool // also of services that count none
}

var fqName = regexp.MustCompile(`fqName: "([^"]+)"`)

func newUnitsCollector(upstream prometheus.Collector, m *units.Manager, wanted func(string) bool) *unitsCollector {
	c := &unitsCollector{manager: m, wanted: wanted, descs: map[string]*prometheus.Desc{}, timers: newTimers()}
	described := make(chan *prometheus.Desc)
	go func() {
		defer close(described)
		upstream.Describe(described)
	}()
	for d := range described {
		c.descs[fqName.FindStringSubmatch(d.String())[1]] = d
	}
	for _, t := range times {
		into, state, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(t.metric, "systemd_unit_"), "_time_seconds"), "_")
		into, state = map[string]string{"enter": "into", "exit": "out of"}[state], into
		c.descs[t.metric] = prometheus.NewDesc(t.metric, "Last time the unit transitioned "+into+" the "+state+" state", unitLabels, nil)
	}
	return c
}

func (c *unitsCollector) Collect(ctx context.Context, ch chan<- prometheus.Metric) error {
	s, err := c.manager.Snapshot(ctx, c.wanted)
	if s == nil {
		return err
	}
	send := func(name string, t prometheus.ValueType, value float64, labels ...string) {
		if m, err := prometheus.NewConstMetric(c.descs[name], t, value, labels...); err == nil {
			ch <- m
		}
	}
	c.boot(s.Manager, send)
	c.watchdog(s.Manager, send)
	for _, u := range s.Units {
		c.unit(u, send)
	}
	c.timers.collect(s.Units, ch)
	c.jobs.Collect(s.Units, ch)
	return err
}

type sender func(name string, t prometheus.ValueType, value float64, labels ...string)

func (c *unitsCollector) boot(manager map[string]any, send sender) {
	for _, stage := range stages {
		monotonic, ok := manager[stage+"TimestampMonotonic"].(uint64)
		at, also := manager[stage+"Timestamp"].(uint64)
		if !ok || !also {
			return // as upstream: this systemd does not know the later ones
		}
		if c.all || at != 0 || monotonic != 0 {
			send("systemd_boot_monotonic_seconds", prometheus.GaugeValue, float64(monotonic)/1e6, stage)
			send("systemd_boot_time_seconds", prometheus.GaugeValue, float64(at)/1e6, stage)
		}
	}
}

func (c *unitsCollector) watchdog(manager map[string]any, send sender) {
	device, ok := manager["WatchdogDevice"].(string)
	if !ok {
		return
	}
	if device == "" {
		send("systemd_watchdog_enabled", prometheus.GaugeValue, 0)
		return
	}
	send("systemd_watchdog_enabled", prometheus.GaugeValue, 1)
	for metric, property := range map[string]string{
		"systemd_watchdog_last_ping_monotonic_seconds": "WatchdogLastPingTimestampMonotonic",
		"systemd_watchdog_last_ping_time_seconds":      "WatchdogLastPingTimestamp",
		"systemd_watchdog_runtime_seconds":             "RuntimeWatchdogUSec",
	} {
		if v, ok := manager[property].(uint64); ok {
			send(metric, prometheus.GaugeValue, float64(v)/1e6, device)
		}
	}
}

func (c *unitsCollector) unit(u *units.Unit, send sender) {
	for _, state := range units.States {
		value := 0.0
		if u.State == state {
			value = 1
		}
		if c.all || value == 1 || state == "active" {
			send("systemd_unit_state", prometheus.GaugeValue, value, u.Name, u.Type, state)
		}
	}
	for i, t := range times {
		usec, ok := u.Number(t.property)
		if ok && (c.all || usec != 0 && i%2 == 0) {
			send(t.metric, prometheus.GaugeValue, usec/1e6, u.Name, u.Type)
		}
	}
	number := func(metric string, t prometheus.ValueType, property string, labels ...string) {
		if v, ok := u.Limited(property); ok {
			send(metric, t, v, append([]string{u.Name}, labels...)...)
		}
	}
	switch u.Type {
	case "service":
		if kind, ok := u.Text("Type"); ok {
			send("systemd_unit_info", prometheus.GaugeValue, 1, u.Name, u.Type, "", kind)
		}
		if c.all {
			started, ok := u.Number("ActiveEnterTimestamp")
			if u.State != "active" {
				started = 0
			}
			if ok {
				send("systemd_unit_start_time_seconds", prometheus.GaugeValue, started/1e6, u.Name, u.Type)
			}
		}
		if c.restarts {
			number("systemd_service_restart_total", prometheus.CounterValue, "NRestarts")
		}
		number("systemd_unit_tasks_current", prometheus.GaugeValue, "TasksCurrent")
		if _, running := u.Limited("TasksCurrent"); running || c.all {
			number("systemd_unit_tasks_max", prometheus.GaugeValue, "TasksMax", u.Type)
		}
		for metric, property := range map[string]string{
			"systemd_service_ip_ingress_bytes":         "IPIngressBytes",
			"systemd_service_ip_egress_bytes":          "IPEgressBytes",
			"systemd_service_ip_ingress_packets_total": "IPIngressPackets",
			"systemd_service_ip_egress_packets_total":  "IPEgressPackets",
		} {
			v, ok := u.Limited(property)
			if !ok && c.traffic {
				v, ok = math.MaxUint64, true // what systemd says for a service that counts none
			}
			if ok {
				send(metric, prometheus.CounterValue, v, u.Name)
			}
		}
	case "mount":
		if kind, ok := u.Text("Type"); ok && c.all {
			send("systemd_unit_info", prometheus.GaugeValue, 1, u.Name, u.Type, kind, "")
		}
	case "timer":
		if usec, ok := u.Number("LastTriggerUSec"); ok {
			send("systemd_timer_last_trigger_seconds", prometheus.GaugeValue, usec/1e6, u.Name)
		}
	case "socket":
		if c.all || u.Is("Accept") {
			number("systemd_socket_accepted_connections_total", prometheus.CounterValue, "NAccepted")
			number("systemd_socket_current_connections", prometheus.GaugeValue, "NConnections")
			number("systemd_socket_refused_connections_total", prometheus.GaugeValue, "NRefused")
		}
	}
}

func (c *unitsCollector) Close() error { return c.manager.Close() }
