package server

import (
	"github.com/prometheus/client_golang/prometheus"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/template"
	"github.com/prometheus/prometheus/util/features"
	promruntime "github.com/prometheus/prometheus/util/runtime"
)

// introduce says, in the log, the metrics and the list of features, what starts here.
func (o *Options) introduce(registry features.Collector) {
	mode := "server"
	if o.Agent {
		mode = "agent"
	}
	o.Logger.Info("Starting clanmon "+mode, "mode", mode, "version", o.ClanmonVersion, "commit", o.ClanmonCommit, "prometheus", o.Web.Version.Version)
	o.Logger.Info("Operational information", "host_details", promruntime.Uname(), "fd_limits", promruntime.FdLimits(), "vm_limits", promruntime.VMLimits())
	registry.Set(features.Prometheus, "agent_mode", o.Agent)
	registry.Set(features.Prometheus, "server_mode", !o.Agent)
	registry.Set(features.Prometheus, "auto_reload_config", o.AutoReload)
	registry.Enable(features.Prometheus, labels.ImplementationName)
	template.RegisterFeatures(registry)
	o.Registerer.MustRegister(versioncollector.NewCollector("prometheus"), o.buildInfo())
}

// buildInfo says which clanmon this is; prometheus_build_info beside it says
// which Prometheus is inside.
func (o *Options) buildInfo() prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "clanmon_build_info",
		Help:        "Version and commit of clanmon. The value is always 1.",
		ConstLabels: prometheus.Labels{"version": o.ClanmonVersion, "commit": o.ClanmonCommit, "role": "server"},
	})
	g.Set(1)
	return g
}
