package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/clanmon/clanmon/server"
)

// serviceManager tells systemd how the process is doing. Without systemd, or in
// a unit that is not Type=notify, it does nothing.
type serviceManager struct {
	ctx context.Context // of the process: the watchdog ends with it
	log *slog.Logger

	started func() // ends the asking for more time
}

func newServiceManager(ctx context.Context, log *slog.Logger) *serviceManager {
	return &serviceManager{ctx: ctx, log: log, started: func() {}}
}

func (m *serviceManager) tell(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		m.log.Warn("Could not notify systemd", "state", state, "err", err)
	}
}

// serverStatus passes on where in its life a server is.
func (m *serviceManager) serverStatus(s server.Status) {
	switch s {
	case server.Starting:
		ctx, cancel := context.WithCancel(m.ctx)
		m.started = cancel
		go m.extendStart(ctx)
	case server.Ready:
		m.ready()
	case server.Reloading:
		// Type=notify-reload wants the monotonic time with it.
		m.tell(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
	case server.Stopping:
		m.started()
		m.tell(daemon.SdNotifyStopping)
	}
}

func (m *serviceManager) ready() {
	m.started()
	m.tell(daemon.SdNotifyReady)
}

// extendStart keeps asking for more time to start: replaying a long WAL takes
// more than the 90 s that systemd gives by default.
func (m *serviceManager) extendStart(ctx context.Context) {
	every(ctx, 10*time.Second, func() { m.tell("EXTEND_TIMEOUT_USEC=30000000") })
}

// watchdog pats systemd's watchdog, if the unit has one, until the process
// stops: each time alive returns without an error. A process that hangs is restarted
// because it does not.
func (m *serviceManager) watchdog(alive func(context.Context) error) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		m.log.Warn("Could not read the watchdog's interval", "err", err)
	}
	if interval > 0 {
		go every(m.ctx, interval/3, func() { m.pat(interval/3, alive) })
	}
}

func (m *serviceManager) pat(limit time.Duration, alive func(context.Context) error) {
	ctx, cancel := context.WithTimeout(m.ctx, limit)
	defer cancel()
	if err := alive(ctx); err != nil {
		if m.ctx.Err() == nil {
			m.log.Error("This process does not answer itself; systemd's watchdog is not told that it is alive", "err", err)
		}
		return
	}
	m.tell(daemon.SdNotifyWatchdog)
}

// every calls fn now and once per interval until ctx ends.
func every(ctx context.Context, interval time.Duration, fn func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		fn()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
