package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/prometheus/common/version"

	"github.com/clanmon/clanmon/exporter"
)

// Set by the linker (see Makefile).
var (
	buildVersion = "dev"
	buildCommit  = ""
	buildDate    = ""
)

type versionCommand struct{ env env }

func newVersionCommand(e env) command { return &versionCommand{env: e} }

func (c *versionCommand) Parse(args []string) error {
	if len(args) > 0 {
		return usageError("version takes no arguments, got %q", args)
	}
	return nil
}

func (c *versionCommand) Run(context.Context) error {
	fmt.Fprintf(c.env.stdout, "clanmon %s (commit %s, built %s, %s %s/%s)\n",
		buildVersion, orUnknown(buildCommit), orUnknown(buildDate), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	modules := []string{prometheusModule}
	for _, k := range exporter.Kinds() {
		modules = append(modules, k.Module)
	}
	for _, m := range modules {
		fmt.Fprintf(c.env.stdout, "  with %s %s\n", m, moduleVersion(m))
	}
	return nil
}

// upstreamVersion is what --version prints, in the form of upstream's programs,
// which scripts read: the version is that of the module, the rest says which
// clanmon it is in.
func upstreamVersion(program, module string) string {
	v, r, b, d := version.Version, version.Revision, version.Branch, version.BuildDate
	defer func() { version.Version, version.Revision, version.Branch, version.BuildDate = v, r, b, d }()
	version.Version, version.Revision, version.Branch, version.BuildDate = moduleVersion(module), buildCommit, "clanmon-"+buildVersion, buildDate
	return version.Print(program)
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

const (
	prometheusModule      = "github.com/prometheus/prometheus"
	nodeExporterModule    = "github.com/prometheus/node_exporter"
	systemdExporterModule = "github.com/prometheus-community/systemd_exporter"
)

// moduleVersion is the version of an embedded module as its own project writes
// it: without the "v", and for Prometheus 0.3MM.P read as 3.M.P.
func moduleVersion(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, d := range info.Deps {
		if d.Path != path {
			continue
		}
		v := strings.TrimPrefix(d.Version, "v")
		if path == prometheusModule {
			return prometheusRelease(v)
		}
		return v
	}
	return "unknown"
}

// prometheusRelease turns the module version of Prometheus into its release:
// the project tags v3.16.0 as Go module v0.316.0.
func prometheusRelease(v string) string {
	var minor, patch int
	if n, _ := fmt.Sscanf(v, "0.%d.%d", &minor, &patch); n != 2 || minor < 300 {
		return v
	}
	return fmt.Sprintf("%d.%d.%d", minor/100, minor%100, patch)
}
