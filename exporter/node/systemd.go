package node

import (
	"context"
	"regexp"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clanmon/clanmon/exporter/internal/flagbound"
	"github.com/clanmon/clanmon/exporter/internal/units"
)

// unitsName is upstream's collector of units, which asks systemd for each property
// of each unit at each scrape. Ours has its series from the snapshot that the kind
// systemd uses too (see package units); upstream's keeps the flags.
const unitsName = "systemd"

func unitsDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("node_systemd_"+name, help, labels, nil)
}

// Upstream's names and help.
var (
	versionDesc  = unitsDesc("version", "Detected systemd version", "version")
	virtualDesc  = unitsDesc("virtualization_info", "Detected virtualization technology", "virtualization_type")
	runningDesc  = unitsDesc("system_running", "Whether the system is operational (see 'systemctl is-system-running')")
	summaryDesc  = unitsDesc("units", "Summary of systemd unit states", "state")
	stateDesc    = unitsDesc("unit_state", "Systemd unit", "name", "state", "type")
	startedDesc  = unitsDesc("unit_start_time_seconds", "Start time of the unit since unix epoch in seconds.", "name")
	tasksDesc    = unitsDesc("unit_tasks_current", "Current number of tasks per Systemd unit", "name")
	tasksMaxDesc = unitsDesc("unit_tasks_max", "Maximum number of tasks per Systemd unit", "name")
	restartsDesc = unitsDesc("service_restart_total", "Service unit count of Restart triggers", "name")
	triggerDesc  = unitsDesc("timer_last_trigger_seconds", "Seconds since epoch of last trigger.", "name")
	acceptedDesc = unitsDesc("socket_accepted_connections_total", "Total number of accepted socket connections", "name")
	currentDesc  = unitsDesc("socket_current_connections", "Current number of socket connections", "name")
	refusedDesc  = unitsDesc("socket_refused_connections_total", "Total number of refused socket connections", "name")
)

type unitsCollector struct {
	manager *units.Manager
	wanted  func(unit string) bool
	jobs    units.Jobs

	restarts, started, tasks bool
}

// newUnits returns the collector. Upstream's has to be made: it moves the values
// of deprecated flags to the others.
func newUnits() (*unitsCollector, error) {
	const flag = "collector.systemd."
	wanted, err := units.Filter(flag+"unit-", flagbound.Value(flag+"unit-include"), flagbound.Value(flag+"unit-exclude"))
	if err != nil {
		return nil, err
	}
	on := func(name string) bool { return flagbound.Value(flag+name) == "true" }
	bus := units.System
	if on("private") {
		bus = units.Private
	}
	return &unitsCollector{
		manager: units.Open(bus), wanted: wanted,
		restarts: on("enable-restarts-metrics"), started: on("enable-start-time-metrics"), tasks: on("enable-task-metrics"),
	}, nil
}

func (c *unitsCollector) Close() error { return c.manager.Close() }

var versionNumber = regexp.MustCompile(`[0-9]{3,}(\.[0-9]+)?`)

func (c *unitsCollector) Collect(ctx context.Context, ch chan<- prometheus.Metric) error {
	s, err := c.manager.Snapshot(ctx, c.wanted)
	if s == nil {
		return err
	}
	send := func(d *prometheus.Desc, t prometheus.ValueType, value float64, labels ...string) {
		if m, err := prometheus.NewConstMetric(d, t, value, labels...); err == nil {
			ch <- m
		}
	}
	text, _ := s.Manager["Version"].(string)
	version, unknown := strconv.ParseFloat(versionNumber.FindString(text), 64)
	if unknown != nil {
		text = ""
	}
	send(versionDesc, prometheus.GaugeValue, version, text)
	virtual, ok := s.Manager["Virtualization"].(string)
	switch {
	case !ok:
		virtual = "unknown"
	case virtual == "":
		virtual = "none"
	}
	send(virtualDesc, prometheus.GaugeValue, 1, virtual)
	send(runningDesc, prometheus.GaugeValue, number(s.System == "running"))
	for _, state := range units.States {
		if _, ok := s.States[state]; !ok {
			send(summaryDesc, prometheus.GaugeValue, 0, state)
		}
	}
	for state, n := range s.States {
		send(summaryDesc, prometheus.GaugeValue, float64(n), state)
	}
	for _, u := range s.Units {
		c.unit(u, send)
	}
	c.jobs.Collect(s.Units, ch)
	return err
}

func (c *unitsCollector) unit(u *units.Unit, send func(*prometheus.Desc, prometheus.ValueType, float64, ...string)) {
	kind, _ := u.Text("Type") // of a service or a mount
	for _, state := range units.States {
		send(stateDesc, prometheus.GaugeValue, number(u.State == state), u.Name, state, kind)
	}
	property := func(d *prometheus.Desc, t prometheus.ValueType, name string, per float64) {
		if v, ok := u.Limited(name); ok {
			send(d, t, v/per, u.Name)
		}
	}
	if c.started {
		if u.State == "active" {
			property(startedDesc, prometheus.GaugeValue, "ActiveEnterTimestamp", 1e6)
		} else {
			send(startedDesc, prometheus.GaugeValue, 0, u.Name)
		}
	}
	switch u.Type {
	case "service":
		if c.restarts {
			property(restartsDesc, prometheus.CounterValue, "NRestarts", 1)
		}
		if c.tasks {
			property(tasksDesc, prometheus.GaugeValue, "TasksCurrent", 1)
			property(tasksMaxDesc, prometheus.GaugeValue, "TasksMax", 1)
		}
	case "timer":
		property(triggerDesc, prometheus.GaugeValue, "LastTriggerUSec", 1e6)
	case "socket":
		property(acceptedDesc, prometheus.CounterValue, "NAccepted", 1)
		property(currentDesc, prometheus.GaugeValue, "NConnections", 1)
		property(refusedDesc, prometheus.GaugeValue, "NRefused", 1)
	}
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
