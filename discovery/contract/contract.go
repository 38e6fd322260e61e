// Package contract has what all discovery methods share: target labels, ports of
// jobs, machine names, the parts of a scrape configuration, meta labels, and status
// reports. It finds nothing itself.
//
// Labels: "machine" is the short name of a machine and the only key that joins its
// series; "instance" is machine and port; "availability" says whether the machine is
// meant to be always on. Tags are not labels, because all series of a machine would
// start anew when a tag changes.
package contract

import (
	"fmt"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

const (
	MachineLabel      = "machine"
	AvailabilityLabel = "availability"

	// Availability of a machine that is meant to be on, and of one that is not,
	// such as a laptop.
	Always       = "always"
	Intermittent = "intermittent"
)

// ports are those that exporters of a kind usually have, in the order in which
// jobs are shown.
var ports = []struct {
	job  string
	port int
}{
	{"node", 9100}, {"systemd", 9558}, {"nginx", 9113}, {"postgres", 9187}, {"redis", 9121},
	{"blackbox", 9115},
}

// Jobs are the names of the jobs whose port is known.
func Jobs() []string {
	names := make([]string, len(ports))
	for i, p := range ports {
		names[i] = p.job
	}
	return names
}

// Port is the usual port of the exporters of a job. An unknown job is an error
// that says what to do.
func Port(job string) (int, error) {
	for _, p := range ports {
		if p.job == job {
			return p.port, nil
		}
	}
	return 0, fmt.Errorf("job %q has no default port; add a port, or use one of %s", job, strings.Join(Jobs(), ", "))
}

// CompareJobs sorts known jobs in their order, and others behind them by name.
func CompareJobs(a, b string) int {
	rank := func(job string) int {
		for i, p := range ports {
			if p.job == job {
				return i
			}
		}
		return len(ports)
	}
	if d := rank(a) - rank(b); d != 0 {
		return d
	}
	return strings.Compare(a, b)
}

var jobName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// CheckJob refuses names that need escaping in URLs and queries.
func CheckJob(job string) error {
	if !jobName.MatchString(job) {
		return fmt.Errorf("job name %q: only letters, digits, '_', '-' and '.' are allowed", job)
	}
	return nil
}

// CheckPort refuses invalid TCP ports.
func CheckPort(port int) error {
	if port < 1 || port > 65535 {
		return fmt.Errorf("port %d: it must be between 1 and 65535", port)
	}
	return nil
}

// ParsePort reads a TCP port.
func ParsePort(s string) (int, error) {
	port, err := strconv.Atoi(s)
	if err != nil {
		return 0, fmt.Errorf("port %q: it must be a number between 1 and 65535", s)
	}
	return port, CheckPort(port)
}

var machineName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.:-]{0,61}[A-Za-z0-9_])?$`)

// CheckMachine refuses names of machines that an operator wrote and that would
// not survive in an address of the web UI. An IP address is a name too.
func CheckMachine(name string) error {
	if addr, err := netip.ParseAddr(name); err == nil && addr.Zone() == "" {
		return nil
	}
	if !machineName.MatchString(name) {
		return fmt.Errorf("machine name %q: must have at most 63 letters, digits, '_', '-', '.' and ':', and begin and end with a letter or digit", name)
	}
	return nil
}

// CheckHost refuses what is neither a host name nor an IP address; an IPv6
// address is without brackets.
func CheckHost(host string) error {
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	if host == "" || strings.ContainsFunc(host, func(r rune) bool {
		return r <= ' ' || strings.ContainsRune(`:/\"'{}[]()<>?#%&,;@`, r)
	}) {
		return fmt.Errorf("%q is neither a host name nor an address", host)
	}
	return nil
}

// Short is the name of a machine for people, made of what the network calls it:
// the first label of a host name, or the address itself. Names from the network
// may be hostile; what CheckMachine would refuse becomes "_" or is cut off.
func Short(host string) string {
	host = strings.TrimSuffix(host, ".")
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.WithZone("").String()
	}
	label, _, _ := strings.Cut(host, ".")
	return Clean(label)
}

// Clean is name as CheckMachine accepts it. It is empty if nothing of it is left.
func Clean(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '-', r == '.', r == '_', r == ':':
			return r
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A' // DNS knows no case
		}
		return '_'
	}, name)
	name = strings.Trim(name, "-.:")
	if strings.Trim(name, "_") == "" {
		return ""
	}
	if len(name) > 63 {
		name = strings.TrimRight(name[:63], "-.:")
	}
	return name
}

// List joins values with a comma at both ends, as Prometheus does with lists in
// a label, so that ",a," matches the value "a" and no longer one. It is empty
// when there are none.
func List(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return "," + strings.Join(values, ",") + ","
}

// Tags are tags as people write them: without the "tag:" of Tailscale, sorted,
// each once, none with a comma inside.
func Tags(values []string) []string {
	tags := make([]string, 0, len(values))
	for _, v := range values {
		if v = strings.ReplaceAll(strings.TrimPrefix(strings.TrimSpace(v), "tag:"), ",", "_"); v != "" {
			tags = append(tags, v)
		}
	}
	slices.Sort(tags)
	return slices.Compact(tags)
}

// Part is what one method adds to the scrape configuration of one job, in the
// words of Prometheus' configuration file.
type Part struct {
	Job     string
	SD      map[string][]any // e.g. "static_configs" and its list
	Options map[string]any   // other fields of the scrape configuration
	Relabel []Relabel        // behind which targets of this method have the labels of the contract
}

// Relabel is a relabelling rule as it is written in a file.
type Relabel struct {
	SourceLabels []string `yaml:"source_labels,omitempty,flow"`
	Regex        string   `yaml:"regex,omitempty"`
	TargetLabel  string   `yaml:"target_label,omitempty"`
	Replacement  *string  `yaml:"replacement,omitempty"`
	Action       string   `yaml:"action,omitempty"`
}

// Equal reports whether r and other are the same rule.
func (r Relabel) Equal(other Relabel) bool { return reflect.DeepEqual(r, other) }

// Copy is the rule that sets a label to a source label that has a value.
func Copy(source, target string) Relabel {
	return Relabel{SourceLabels: []string{source}, Regex: "(.+)", TargetLabel: target}
}

// Set is the rule that sets a label to value where source matches regex.
func Set(source, regex, target, value string) Relabel {
	return Relabel{SourceLabels: []string{source}, Regex: regex, TargetLabel: target, Replacement: &value}
}

// Replace makes a rule that cannot be said by Copy or Set.
func Replace(sources []string, regex, target, replacement string) Relabel {
	return Relabel{SourceLabels: sources, Regex: regex, TargetLabel: target, Replacement: &replacement}
}

// Status is the state of a method.
type Status struct {
	Method string `json:"method"`
	// From is its source: a file, a socket, a DNS name.
	From string `json:"from,omitempty"`
	// Config is the job that it was made for first.
	Config string `json:"config"`
	// Jobs are all that it finds targets for. A Reporter knows one of them only.
	Jobs []string `json:"jobs"`
	// Error is what is wrong and what to do; empty while it works.
	Error string `json:"error,omitempty"`
	// LastSuccess is the time of the last successful refresh; zero if there was none,
	// and for methods without refreshes.
	LastSuccess time.Time `json:"lastSuccess,omitzero"`
	// FailingSince is when Error first appeared; zero while it works.
	FailingSince time.Time `json:"failingSince,omitzero"`
	// Never is true if the method refreshes and has not succeeded since the server started.
	Never bool `json:"never,omitempty"`
}

// Refused is an entry that a method could not use, while it uses all others.
type Refused struct {
	Entry  string `json:"entry"` // a machine, or what the entry is called where it is written
	Method string `json:"method"`
	Reason string `json:"reason"`
}

// Reporter is implemented by the discovery metrics of clanmon's own mechanisms.
type Reporter interface {
	Status() []Status
	Refused() []Refused
}

// Section is implemented by the sections of clanmon's own mechanisms in a scrape
// configuration.
type Section interface {
	// Describe is Method and From of the section's Status.
	Describe() (method, from string)
}

// Meta makes a label from a prefix such as "tailscale_" and a name.
func Meta(prefix, name string) model.LabelName {
	return model.LabelName(model.MetaLabelPrefix + prefix + name)
}
