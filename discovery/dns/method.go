package dns

import (
	"fmt"
	"slices"
	"strings"

	"github.com/clanmon/clanmon/discovery/contract"
)

// Lookup is a name that stands for exporters of a job.
type Lookup struct {
	Job  string
	Name string // may begin with "*."
	Port int    // not for SRV, which has its own
	Type string // one of Types
}

// Types of records.
var Types = []string{"A", "AAAA", "SRV", "MX", "NS"}

// Parse reads "JOB=NAME[:PORT][/TYPE]", the value of --discovery.dns.
func Parse(text string) (Lookup, error) {
	job, rest, ok := strings.Cut(text, "=")
	if !ok {
		return Lookup{}, fmt.Errorf("%q: it must be JOB=NAME[:PORT][/TYPE], e.g. node=*.monitoring.local or node=_node._tcp.example.org/SRV", text)
	}
	rest, typ, _ := strings.Cut(rest, "/")
	name, port, hasPort := strings.Cut(rest, ":")
	l := Lookup{Job: job, Name: name, Type: typ}
	var err error
	if hasPort {
		if l.Port, err = contract.ParsePort(port); err != nil {
			return l, fmt.Errorf("%q: %w", text, err)
		}
	}
	if l, err = l.Complete(); err != nil {
		return l, fmt.Errorf("%q: %w", text, err)
	}
	return l, nil
}

// Complete checks l and fills in what was left out: the type by the look of the
// name, the port by the job.
func (l Lookup) Complete() (Lookup, error) {
	if err := contract.CheckJob(l.Job); err != nil {
		return l, err
	}
	if err := checkName(l.Name); err != nil {
		return l, err
	}
	l.Type = strings.ToUpper(l.Type)
	if l.Type == "" {
		l.Type = "A"
		if strings.HasPrefix(strings.TrimPrefix(l.Name, "*."), "_") {
			l.Type = "SRV"
		}
	}
	if !slices.Contains(Types, l.Type) {
		return l, fmt.Errorf("record type %q: it must be one of %s", l.Type, strings.Join(Types, ", "))
	}
	if strings.HasPrefix(l.Name, "*.") && (l.Type == "MX" || l.Type == "NS") {
		return l, fmt.Errorf("%s with record type %s: a wildcard needs the type A, AAAA or SRV", l.Name, l.Type)
	}
	switch {
	case l.Type == "SRV" && l.Port != 0:
		return l, fmt.Errorf("port %d with record type SRV: SRV records contain the port; remove it", l.Port)
	case l.Type != "SRV" && l.Port == 0:
		var err error
		if l.Port, err = contract.Port(l.Job); err != nil {
			return l, err
		}
	case l.Type != "SRV":
		return l, contract.CheckPort(l.Port)
	}
	return l, nil
}

// checkName wants a DNS name, "*" allowed as its first label.
func checkName(name string) error {
	wrong := func(why string) error {
		return fmt.Errorf("DNS name %q: %s", name, why)
	}
	bare := strings.TrimSuffix(strings.TrimPrefix(name, "*."), ".")
	if bare == "" {
		return wrong("it is empty")
	}
	if len(bare) > 253 {
		return wrong("it is longer than 253 bytes")
	}
	for label := range strings.SplitSeq(bare, ".") {
		switch {
		case label == "":
			return wrong("it has an empty label between two dots")
		case len(label) > 63:
			return wrong("one of its labels is longer than 63 bytes")
		case strings.ContainsFunc(label, func(r rune) bool {
			return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_')
		}):
			return wrong("only letters, digits, '-' and '_' are allowed in its labels, and '*' as the first label")
		}
	}
	return nil
}

// Parts are the parts of the scrape configurations.
func Parts(lookups []Lookup) []contract.Part {
	var parts []contract.Part
	for _, l := range lookups {
		sd := map[string]any{"names": []string{l.Name}, "type": l.Type}
		if l.Type != "SRV" {
			sd["port"] = l.Port
		}
		parts = append(parts, contract.Part{Job: l.Job, SD: map[string][]any{"machine_dns_sd_configs": {sd}}})
	}
	return parts
}
