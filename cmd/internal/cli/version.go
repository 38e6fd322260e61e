package cli

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
	BuildVersion = "dev"
	BuildCommit  = ""
	BuildDate    = ""
)

type versionCommand struct {
	env     Env
	program string
	modules []string
}

// NewVersionCommand returns the command that prints the version and build of a
// program, and the versions of modules and of the exporters in it.
func NewVersionCommand(e Env, program string, modules ...string) Command {
	for _, k := range exporter.Kinds() {
		if k.Linked() {
			modules = append(modules, k.Module)
		}
	}
	return &versionCommand{e, program, modules}
}

func (c *versionCommand) Parse(args []string) error {
	if len(args) > 0 {
		return UsageError("version takes no arguments, got %q", args)
	}
	return nil
}

func (c *versionCommand) Run(context.Context) error {
	fmt.Fprintf(c.env.Stdout, "%s %s (commit %s, built %s, %s %s/%s)\n",
		c.program, BuildVersion, OrUnknown(BuildCommit), OrUnknown(BuildDate), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	for _, m := range c.modules {
		fmt.Fprintf(c.env.Stdout, "  with %s %s\n", m, ModuleVersion(m))
	}
	return nil
}

// UpstreamVersion is what --version prints, in the form of upstream's programs,
// which scripts read: the version is that of the module, the rest says which
// clanmon it is in.
func UpstreamVersion(program, module string) string {
	v, r, b, d := version.Version, version.Revision, version.Branch, version.BuildDate
	defer func() { version.Version, version.Revision, version.Branch, version.BuildDate = v, r, b, d }()
	version.Version, version.Revision, version.Branch, version.BuildDate = ModuleVersion(module), BuildCommit, "clanmon-"+BuildVersion, BuildDate
	return version.Print(program)
}

// OrUnknown is s, or "unknown" if it is empty.
func OrUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// PrometheusModule is the module of Prometheus, for [ModuleVersion].
const PrometheusModule = "github.com/prometheus/prometheus"

const (
	nodeExporterModule    = "github.com/prometheus/node_exporter"
	systemdExporterModule = "github.com/prometheus-community/systemd_exporter"
)

// ModuleVersion is the version of an embedded module as its own project writes
// it: without the "v", and for Prometheus 0.3MM.P read as 3.M.P.
func ModuleVersion(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, d := range info.Deps {
		if d.Path != path {
			continue
		}
		v := strings.TrimPrefix(d.Version, "v")
		if path == PrometheusModule {
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
