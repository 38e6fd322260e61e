// Package server is the hall of the house: it builds the rooms (store,
// delivery, ingest, ruler, api), introduces them to each other and decides in
// which order they live and die. The rooms do not know one another.
//
// New reads the configuration, builds everything and binds the listeners, so
// that it can fail before anything runs; Run does the work until its context
// ends or a room fails, then unwinds. The server is Prometheus 3.16 made from
// its own packages; what is not in one of them is wiring, and setup.go is the
// place to read it.
package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/tracing"
	"github.com/prometheus/prometheus/util/notifications"
	"github.com/prometheus/prometheus/web"

	"github.com/clanmon/clanmon/server/api"
	"github.com/clanmon/clanmon/server/config"
	"github.com/clanmon/clanmon/server/delivery"
	"github.com/clanmon/clanmon/server/fleet"
	"github.com/clanmon/clanmon/server/ingest"
	"github.com/clanmon/clanmon/server/ruler"
	"github.com/clanmon/clanmon/server/store"
)

// Server is one monitoring server. Several can live in one process.
type Server struct {
	opts   Options
	loader *config.Loader

	store    *store.Store
	delivery *delivery.Delivery
	vitals   *vitals
	fleet    *fleet.Fleet
	ingest   *ingest.Ingest
	engine   *promql.Engine // nil in agent mode
	ruler    *ruler.Ruler   // nil in agent mode
	tracing  *tracing.Manager
	local    *localJobs
	api      *api.API

	stages        *stages
	told          toldStatus
	appliers      []applier
	reloads       reloadMetrics
	notifications *notifications.Notifications
}

// Addr is the address that the first listener is bound to.
func (s *Server) Addr() net.Addr { return s.api.Addr() }

// stopLimit bounds the wait for a stage whose end loses no data.
const stopLimit = 30 * time.Second

// Run serves until ctx ends, POST /-/quit arrives, or a part fails; the error
// is that part's. It may be called once.
func (s *Server) Run(ctx context.Context) (err error) {
	log, stages := s.opts.Logger, s.stages
	defer func() {
		s.api.SetReady(web.Stopping)
		s.notifications.AddNotification(notifications.ShuttingDown)
		s.status(Stopping)
		err = errors.Join(err, stages.unwind())
		if err == nil {
			log.Info("See you next time!")
		}
	}()

	// HTTP is up early, to answer 503 and show the progress of the WAL replay.
	// It is drained first and cut last.
	stages.start("http", stopLimit, s.api.Run)
	stages.start("store", 0, s.store.Run)
	s.status(Starting)
	select {
	case <-s.store.Ready():
	case err := <-stages.failed:
		return err
	case <-ctx.Done():
		return s.stopped(ctx)
	}

	// Every part has its configuration before it runs: a scrape pool that meets
	// a target without knowing its job would drop it.
	if err := s.reload(); err != nil {
		return fmt.Errorf("error loading config from %q: %w", s.loader.Name(), err)
	}
	stages.start("delivery", stopLimit, s.delivery.Run) // outlives rules, so that last alerts leave
	stages.start("local jobs", stopLimit, s.local.Run)
	stages.start("fleet", stopLimit, s.fleet.Run)
	stages.start("ingest", stopLimit, s.ingest.Run)
	stages.start("tracing", stopLimit, s.runTracing)
	stages.start("vitals", stopLimit, s.vitals.Run)
	if s.ruler != nil {
		stages.start("ruler", stopLimit, s.ruler.Run)
	}
	stages.start("reload", stopLimit, s.reloadLoop)
	stages.push("http requests", s.api.Drain)

	s.api.SetReady(web.Ready)
	s.notifications.DeleteNotification(notifications.StartingUp)
	log.Info("Server is ready to receive web requests.")
	s.status(Ready)

	select {
	case err := <-stages.failed:
		return err
	case <-s.api.Quit():
		log.Warn("Received termination request via web service, exiting gracefully...")
		return nil
	case <-ctx.Done():
		return s.stopped(ctx)
	}
}

// toldStatus is what the service manager knows.
type toldStatus struct {
	mu       sync.Mutex
	stopping bool
}

// status tells where in its life the server is. Nothing follows Stopping: a reload
// that ends then does not make the server ready again.
func (s *Server) status(now Status) {
	s.told.mu.Lock()
	defer s.told.mu.Unlock()
	if s.opts.Status == nil || s.told.stopping {
		return
	}
	s.told.stopping = now == Stopping
	s.opts.Status(now)
}

// Answers returns an error if the server does not answer a request of its own
// before ctx ends. It is for a watchdog, once Run has been called.
func (s *Server) Answers(ctx context.Context) error { return s.api.Answers(ctx) }

// stopped logs why ctx ended; being asked to stop is no error.
func (s *Server) stopped(ctx context.Context) error {
	s.opts.Logger.Warn("Received an OS signal, exiting gracefully...", "cause", context.Cause(ctx))
	return nil
}

func (s *Server) runTracing(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.tracing.Run()
	}()
	<-ctx.Done()
	s.tracing.Stop()
	<-done
	return nil
}

// Close releases what New opened, for a Server that is not going to Run.
func (s *Server) Close() error { return s.stages.unwind() }
