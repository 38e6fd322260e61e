package store

import (
	"errors"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// registerer remembers what is registered through it, so that a database that is
// opened again can register the same metrics.
type registerer struct {
	prometheus.Registerer

	mu   sync.Mutex
	mine []prometheus.Collector
}

// Register implements prometheus.Registerer.
func (r *registerer) Register(c prometheus.Collector) error {
	if isLockMetric(c) {
		return nil
	}
	if err := r.Registerer.Register(c); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mine = append(r.mine, c)
	return nil
}

// MustRegister implements prometheus.Registerer.
func (r *registerer) MustRegister(cs ...prometheus.Collector) {
	var errs []error
	for _, c := range cs {
		errs = append(errs, r.Register(c))
	}
	if err := errors.Join(errs...); err != nil {
		panic(err)
	}
}

// clear unregisters everything.
func (r *registerer) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.mine {
		r.Registerer.Unregister(c)
	}
	r.mine = nil
}

// sum returns a function that adds up the counters of these names, as they are when
// it is called.
func (r *registerer) sum(names ...string) func() float64 {
	counters := r.find(names...)
	return func() (total float64) {
		for _, c := range counters {
			metrics := make(chan prometheus.Metric, 1)
			c.Collect(metrics)
			var m dto.Metric
			if (<-metrics).Write(&m) == nil {
				total += m.GetCounter().GetValue()
			}
		}
		return total
	}
}

// find returns what is registered under these names.
func (r *registerer) find(names ...string) (found []prometheus.Collector) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.mine {
		descs := make(chan *prometheus.Desc, 100)
		c.Describe(descs)
		close(descs)
		for d := range descs {
			for _, name := range names {
				if strings.Contains(d.String(), `fqName: "`+name+`"`) {
					found = append(found, c)
				}
			}
		}
	}
	return found
}
