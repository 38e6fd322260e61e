package exporter

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// registries gathers from several as prometheus.Gatherers does. Each registry has checked
// and sorted what is its own; doing that again is a tenth of a scrape, and is left out
// unless two of them have a metric of the same name.
type registries []prometheus.Gatherer

// Gather implements prometheus.Gatherer.
func (r registries) Gather() ([]*dto.MetricFamily, error) {
	var all []*dto.MetricFamily
	var errs prometheus.MultiError
	gathered := make(prometheus.Gatherers, len(r))
	for i, g := range r {
		found, err := g.Gather()
		errs.Append(err)
		all = append(all, found...)
		gathered[i] = prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return found, nil })
	}
	byName := func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) }
	slices.SortFunc(all, byName)
	distinct := len(slices.CompactFunc(slices.Clone(all), func(a, b *dto.MetricFamily) bool { return byName(a, b) == 0 }))
	if distinct < len(all) {
		var err error
		all, err = gathered.Gather()
		errs.Append(err)
	}
	return all, errs.MaybeUnwrap()
}
