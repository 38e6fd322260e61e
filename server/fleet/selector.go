package fleet

import (
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/common/model"

	"github.com/clanmon/clanmon/discovery/contract"
)

// hostOf is the host of an instance, "" where the instance is none: a URL or a
// path says which page was probed, not on which machine the exporter runs.
func hostOf(instance string) string {
	if strings.ContainsAny(instance, "/") {
		return ""
	}
	if ap, err := netip.ParseAddrPort(instance); err == nil {
		return ap.Addr().String()
	}
	if addr, err := netip.ParseAddr(strings.Trim(instance, "[]")); err == nil {
		return addr.String()
	}
	if host, _, err := net.SplitHostPort(instance); err == nil {
		return host
	}
	return instance
}

// isLoopback reports whether a host is this machine, seen from itself.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// quoted is a label value as PromQL writes it between double quotes.
func quoted(value string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(value) + `"`
}

// oneOf is a matcher of a label with one of several values.
func oneOf(label string, values []string) string {
	if len(values) == 1 {
		return label + "=" + quoted(values[0])
	}
	escaped := make([]string, len(values))
	for i, v := range values {
		escaped[i] = regexp.QuoteMeta(v)
	}
	return label + "=~" + quoted(strings.Join(escaped, "|"))
}

// selector is what selects the series of a machine: by its label where they carry
// it, else by the instances of its targets.
func selector(name string, labelled bool, instances []string) string {
	if labelled || len(instances) == 0 {
		return contract.MachineLabel + "=" + quoted(name)
	}
	instances = slices.Clone(instances)
	slices.Sort(instances)
	return oneOf(string(model.InstanceLabel), slices.Compact(instances))
}

// earlier selects series from before a machine carried its label, or is "".
func earlier(instances []string) string {
	if len(instances) == 0 {
		return ""
	}
	instances = slices.Clone(instances)
	slices.Sort(instances)
	return oneOf(string(model.InstanceLabel), slices.Compact(instances)) + `,` + contract.MachineLabel + `=""`
}
