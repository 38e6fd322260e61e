package tailscale

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/clanmon/clanmon/discovery/contract"
	"github.com/clanmon/clanmon/internal/tailscaled"
)

// Settings of the method.
type Settings struct {
	Socket string
	// Jobs are what every machine is asked for.
	Jobs []Job
	// Tags, if any, leaves out machines that have none of them.
	Tags []string
	// IntermittentTags mark machines that are not meant to be on all the time.
	IntermittentTags []string
}

// Job is a job and the machines it is for.
type Job struct {
	Name string
	Port int
	Tags []string // machines with one of them; all if empty
}

// Defaults of the flags.
var (
	DefaultJobs             = contract.Jobs()
	DefaultIntermittentTags = []string{"tag:laptop", "tag:intermittent"}
)

// ParseJob reads "JOB[:PORT][@TAG,…]", the value of --discovery.tailscale.job.
func ParseJob(text string) (Job, error) {
	spec, tags, tagged := strings.Cut(text, "@")
	name, port, hasPort := strings.Cut(spec, ":")
	j := Job{Name: name}
	err := contract.CheckJob(name)
	if err == nil {
		if hasPort {
			j.Port, err = contract.ParsePort(port)
		} else {
			j.Port, err = contract.Port(name)
		}
	}
	if err == nil && tagged {
		j.Tags, err = ParseTags(strings.Split(tags, ","))
	}
	if err != nil {
		return j, fmt.Errorf("%q: %w", text, err)
	}
	return j, nil
}

// AddJob adds a job to jobs. One that is there already is for the machines of
// both; it has one port.
func AddJob(jobs []Job, j Job) ([]Job, error) {
	i := slices.IndexFunc(jobs, func(other Job) bool { return other.Name == j.Name })
	if i < 0 {
		return append(jobs, j), nil
	}
	if jobs[i].Port != j.Port {
		return nil, fmt.Errorf("job %q already has port %d; rename one of the two jobs", j.Name, jobs[i].Port)
	}
	if len(jobs[i].Tags) == 0 || len(j.Tags) == 0 {
		jobs[i].Tags = nil // all machines
	} else {
		jobs[i].Tags = append(jobs[i].Tags, j.Tags...)
	}
	return jobs, nil
}

var tagPattern = regexp.MustCompile(`^tag:[A-Za-z][A-Za-z0-9-]*$`)

// ParseTags accepts tags with or without "tag:" before them.
func ParseTags(tags []string) ([]string, error) {
	parsed := make([]string, 0, len(tags))
	for _, t := range tags {
		full := "tag:" + strings.TrimPrefix(strings.TrimSpace(t), "tag:")
		if !tagPattern.MatchString(full) {
			return nil, fmt.Errorf("tag %q: it must be tag:NAME with letters, digits and '-', beginning with a letter", t)
		}
		parsed = append(parsed, full)
	}
	return parsed, nil
}

// Parts are the parts of the scrape configurations. All jobs have the same
// section, so that tailscaled is asked once for all of them.
func Parts(s Settings) []contract.Part {
	sd := map[string]any{"port": DefaultSDConfig.Port}
	if s.Socket != "" && s.Socket != tailscaled.DefaultSocket {
		sd["socket"] = s.Socket
	}
	if len(s.IntermittentTags) > 0 {
		sd["intermittent_tags"] = s.IntermittentTags
	}
	var parts []contract.Part
	for _, j := range s.Jobs {
		parts = append(parts, contract.Part{
			Job: j.Name,
			SD:  map[string][]any{"tailscale_sd_configs": {sd}},
			Relabel: append(keep(s.Tags, j.Tags),
				contract.Replace([]string{contract.MetaMethod, "__address__"}, Name+`;(.+):\d+`, "__address__", fmt.Sprintf("$1:%d", j.Port)),
			),
		})
	}
	return parts
}

// keep drops machines that have none of the tags of each set; an empty set is for
// all. Targets of other methods in the same scrape configuration stay.
func keep(tagSets ...[]string) []contract.Relabel {
	const verdict = "__tmp_clanmon_drop"
	var sources, regexes []string
	for _, tags := range tagSets {
		if len(tags) > 0 {
			sources = append(sources, "__meta_tailscale_tags")
			regexes = append(regexes, hasTag(tags))
		}
	}
	if len(sources) == 0 {
		return nil
	}
	return []contract.Relabel{
		contract.Set(contract.MetaMethod, Name, verdict, "yes"),
		contract.Replace(sources, strings.Join(regexes, ";"), verdict, ""),
		{SourceLabels: []string{verdict}, Regex: "yes", Action: "drop"},
	}
}

func hasTag(tags []string) string {
	quoted := make([]string, len(tags))
	for i, t := range tags {
		quoted[i] = regexp.QuoteMeta(t)
	}
	return ".*,(?:" + strings.Join(quoted, "|") + "),.*"
}
