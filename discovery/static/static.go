// Package static is the discovery method for machines that the operator lists.
// They become static_configs; nothing is asked of the network, nothing runs.
package static

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/clanmon/clanmon/discovery/contract"
)

// Name of the method.
const Name = "static"

// Target is one exporter on one machine.
type Target struct {
	Job     string
	Machine string
	Host    string // name or address, without brackets
	Port    int
	From    string // where it is written down, for people
}

// Flag is the flag whose value Parse reads.
const Flag = "--discovery.static"

// Parse reads "JOB=[NAME@]HOST[:PORT],…", the value of Flag.
func Parse(text string) ([]Target, error) {
	job, list, ok := strings.Cut(text, "=")
	if !ok {
		return nil, fmt.Errorf("%q: it must be JOB=[NAME@]HOST[:PORT],…, e.g. node=web1,db@10.0.0.7:9101", text)
	}
	return ParseList(Flag, job, strings.Split(list, ","))
}

// ParseList reads targets of one job, each "[NAME@]HOST[:PORT]", that are written
// down in from.
func ParseList(from, job string, list []string) ([]Target, error) {
	if err := contract.CheckJob(job); err != nil {
		return nil, err
	}
	var targets []Target
	for _, text := range list {
		t, err := parseTarget(job, strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("target %q: %w", text, err)
		}
		t.From = from
		targets = append(targets, t)
	}
	return targets, nil
}

func parseTarget(job, text string) (Target, error) {
	t := Target{Job: job}
	name, address, named := strings.Cut(text, "@")
	if !named {
		address = text
	}
	host, port, err := splitPort(address)
	if err != nil {
		return t, err
	}
	if host == "" {
		return t, fmt.Errorf("the host is missing")
	}
	if err := contract.CheckHost(host); err != nil {
		return t, err
	}
	t.Host = host
	if port != "" {
		t.Port, err = contract.ParsePort(port)
	} else {
		t.Port, err = contract.Port(job)
	}
	if err != nil {
		return t, err
	}
	t.Machine = contract.Short(host)
	if named {
		t.Machine = name
	}
	return t, contract.CheckMachine(t.Machine)
}

// splitPort splits HOST[:PORT]. An IPv6 address with a port is in brackets.
func splitPort(s string) (host, port string, err error) {
	if inner, rest, ok := strings.Cut(strings.TrimPrefix(s, "["), "]"); strings.HasPrefix(s, "[") {
		if !ok || (rest != "" && !strings.HasPrefix(rest, ":")) {
			return "", "", fmt.Errorf("it must be [IPv6] or [IPv6]:PORT")
		}
		if rest == ":" {
			return "", "", fmt.Errorf("the port is missing after %q", s)
		}
		return inner, strings.TrimPrefix(rest, ":"), nil
	}
	switch strings.Count(s, ":") {
	case 0:
		return s, "", nil
	case 1:
		host, port, _ = strings.Cut(s, ":")
		if port == "" {
			return "", "", fmt.Errorf("the port is missing after %q", s)
		}
		return host, port, nil
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return "", "", fmt.Errorf("an IPv6 address must be in brackets: [%s]", s)
	}
	return "", "", fmt.Errorf("it must be [NAME@]HOST[:PORT]")
}

// Parts are the parts of the scrape configurations. Two machines of one name
// would write the same series, and one with two names is scraped under one of
// them, so they are refused.
func Parts(targets []Target) ([]contract.Part, error) {
	type key struct {
		job, instance string
	}
	seen := make(map[key]string)
	names := make(map[key]string) // by address
	var parts []contract.Part
	for _, t := range targets {
		address := net.JoinHostPort(t.Host, strconv.Itoa(t.Port))
		k := key{t.Job, fmt.Sprintf("%s:%d", t.Machine, t.Port)}
		if other, ok := seen[k]; ok {
			if other == address {
				continue // by a flag and in the file
			}
			return nil, fmt.Errorf("job %q: %s and %s are both named %q; rename one: NAME@HOST", t.Job, other, address, t.Machine)
		}
		seen[k] = address
		k.instance = address
		if other, ok := names[k]; ok {
			return nil, fmt.Errorf("job %q: %s has two names, %q and %q; remove one", t.Job, address, other, t.Machine)
		}
		names[k] = t.Machine
		parts = append(parts, contract.Part{Job: t.Job, SD: map[string][]any{
			"static_configs": {map[string]any{
				"targets": []string{address},
				"labels": map[string]string{
					contract.MetaMethod: Name, contract.MetaMachine: t.Machine, contract.MetaFrom: t.From,
				},
			}},
		}})
	}
	return parts, nil
}
