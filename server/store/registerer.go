package store

import (
	"errors"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
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
