package fleet

import (
	"net/url"
	"slices"

	"github.com/prometheus/common/model"

	"github.com/clanmon/clanmon/discovery/contract"
)

// Selector is what goes between braces to select the series of a machine.
func (f *Fleet) Selector(machine string) string {
	if j := f.view.now.Load().machines[machine]; j != nil {
		return selector(machine, j.labelled, j.instances)
	}
	return selector(machine, true, nil)
}

// Scraped is a target of a machine that this server scrapes.
type Scraped struct {
	Job string // of its scrape configuration
	URL *url.URL
}

// Scraped are the targets of a machine that this server scrapes, at the addresses of now, in
// the order of jobs. known is false if there is no such machine.
func (f *Fleet) Scraped(machine string) (all []Scraped, known bool) {
	// Targets of the user's own jobs may lack the label; a machine of the last seconds
	// is not among those that were judged.
	members := make(map[targetKey]bool)
	if j := f.view.now.Load().machines[machine]; j != nil {
		known = true
		for _, m := range j.members {
			members[targetKey{m.Job, m.Instance}] = true
		}
	}
	for pool, targets := range f.opts.Targets() {
		for _, t := range targets {
			if members[targetKey{pool, t.GetValue(model.InstanceLabel)}] || t.GetValue(contract.MachineLabel) == machine {
				known = true
				all = append(all, Scraped{pool, t.URL()})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Scraped) int { return contract.CompareJobs(a.Job, b.Job) })
	return all, known
}
