// Package server builds the packages below it (store, delivery, ingest, ruler,
// api and others), connects them, and decides in which order they start and stop.
// These packages do not import each other; ARCHITECTURE.md calls them rooms.
//
// New reads the configuration, builds everything and binds the listeners, so
// that errors appear before anything runs. Run serves until its context ends or
// a room fails, then stops everything in reverse order. The server is Prometheus
// 3.16 made from its own packages; setup.go has the wiring.
package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/tracing"
	"github.com/prometheus/prometheus/util/notifications"
	"github.com/prometheus/prometheus/web"

	"github.com/clanmon/clanmon/discovery"
	"github.com/clanmon/clanmon/server/api"
	"github.com/clanmon/clanmon/server/backfill"
	"github.com/clanmon/clanmon/server/boards"
	"github.com/clanmon/clanmon/server/capacity"
	"github.com/clanmon/clanmon/server/checks"
	"github.com/clanmon/clanmon/server/config"
	"github.com/clanmon/clanmon/server/delivery"
	"github.com/clanmon/clanmon/server/elsewhere"
	"github.com/clanmon/clanmon/server/engine"
	"github.com/clanmon/clanmon/server/events"
	"github.com/clanmon/clanmon/server/fleet"
	"github.com/clanmon/clanmon/server/ingest"
	"github.com/clanmon/clanmon/server/internal/resultcache"
	"github.com/clanmon/clanmon/server/jobs"
	"github.com/clanmon/clanmon/server/look"
	"github.com/clanmon/clanmon/server/push"
	"github.com/clanmon/clanmon/server/ruler"
	"github.com/clanmon/clanmon/server/store"
	"github.com/clanmon/clanmon/server/store/backup"
	"github.com/clanmon/clanmon/server/traffic"
	"github.com/clanmon/clanmon/server/uptime"
)

// Server is one monitoring server. Several can live in one process.
type Server struct {
	opts    Options
	loader  *config.Loader
	started discovery.Server // what the settings said at the start

	store    *store.Store
	delivery *delivery.Delivery
	vitals   *vitals
	fleet    *fleet.Fleet
	ingest   *ingest.Ingest
	engine   *promql.Engine     // nil in agent mode
	own      *promql.Engine     // the same for queries of the rooms
	results  *resultcache.Cache // nil for none
	history  *engine.Engine     // nil for none
	others   *elsewhere.Elsewhere
	ruler    *ruler.Ruler       // nil in agent mode
	capacity *capacity.Capacity // nil in agent mode
	traffic  *traffic.Traffic   // nil in agent mode
	tracing  *tracing.Manager
	local    *localJobs
	backup   *backup.Server
	checks   *checks.Checks
	look     *look.Look
	backfill *backfill.Backfill // nil if it is off
	jobs     *jobs.Jobs
	push     *push.Push // nil without --push
	events   *events.Events
	boards   *boards.Boards
	uptime   *uptime.Uptime // nil in agent mode
	api      *api.API

	gogc   int // of the configuration, as GOGC
	stages *stages
	told   toldStatus
	queryDefaults
	reloads       reloadMetrics
	reloaded      atomic.Bool // while it runs
	applied       string      // the checksum of the files that the last reload read, for automatic reloads
	ruleURL       *url.URL    // the external URL in generatorURL, with its password as upstream has it
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

	// HTTP starts first, to respond with 503 and show the progress of the WAL replay.
	// It is drained first and closed last.
	stages.start("http", stopLimit, s.api.Run)
	// Reading a long WAL is when memory grows most.
	log.Info("Updated GOGC", "new", s.gogc)
	if err := s.applyGOGC(); err != nil {
		return err
	}
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
	if err := s.jobs.Restore(ctx, time.Now()); err != nil {
		log.Warn("What was recorded of jobs before the last stop is not used", "err", err)
	}
	stages.start("delivery", stopLimit, s.delivery.Run) // outlives rules, so that last alerts leave
	stages.start("local jobs", stopLimit, s.local.Run)
	stages.start("fleet", stopLimit, s.fleet.Run)
	stages.start("ingest", stopLimit, s.ingest.Run)
	stages.start("backfill", stopLimit, s.backfill.Run)
	stages.start("jobs", stopLimit, s.jobs.Run)
	if s.push != nil {
		stages.start("push", stopLimit, s.push.Run)
	}
	stages.start("tracing", stopLimit, s.runTracing)
	stages.start("vitals", stopLimit, s.vitals.Run)
	if s.ruler != nil {
		stages.start("traffic", stopLimit, s.traffic.Run)
		stages.start("ruler", stopLimit, s.runRules)
	}
	if s.uptime != nil {
		stages.start("uptime", stopLimit, s.uptime.Run)
	}
	stages.start("backup", stopLimit, s.backup.Run)
	stages.start("reload", stopLimit, s.reloadLoop)
	stages.push("http requests", s.api.Drain)

	s.api.SetReady(web.Ready)
	s.notifications.DeleteNotification(notifications.StartingUp)
	log.Info("Server is ready to receive web requests.")
	s.status(Ready)
	stages.start("late parts", stopLimit, s.settle)

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

// settle creates what was deferred until the server is ready, unless a request needed it
// before.
func (s *Server) settle(ctx context.Context) error {
	debug.FreeOSMemory() // what reading the WAL needed, before this needs more
	s.api.Complete()
	s.status(Settled)
	if s.capacity != nil && s.withShippedRules() { // which read it; or the first to open its page waits for all machines
		if err := s.capacity.Warm(ctx, time.Now()); err != nil && ctx.Err() == nil {
			s.opts.Logger.Warn("Could not read how inodes and memory grew", "err", err)
		}
	}
	<-ctx.Done()
	return nil
}

// toldStatus is the last status sent to the service manager.
type toldStatus struct {
	mu       sync.Mutex
	stopping bool
}

// status reports the stage of the server's life. Nothing follows Stopping: a reload that
// finishes during the shutdown does not make the server ready again.
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
