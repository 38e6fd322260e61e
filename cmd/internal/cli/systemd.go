package cli

import (
	"context"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// A ServiceManager tells systemd how the process is doing. Without systemd, or in
// a unit that is not Type=notify, it does nothing.
type ServiceManager struct {
	ctx context.Context // of the process: the watchdog ends with it
	log *slog.Logger

	started func() // ends the asking for more time
}

// NewServiceManager returns one for a process that ends with ctx. Its methods are
// called one after the other.
func NewServiceManager(ctx context.Context, log *slog.Logger) *ServiceManager {
	return &ServiceManager{ctx: ctx, log: log, started: func() {}}
}

func (m *ServiceManager) tell(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		m.log.Warn("Could not notify systemd", "state", state, "err", err)
	}
}

// Starting says that starting may take longer than systemd waits by default.
func (m *ServiceManager) Starting() {
	ctx, cancel := context.WithCancel(m.ctx)
	m.started = cancel
	go m.extendStart(ctx)
}

// Ready says that the process does its work, after a start or a reload.
func (m *ServiceManager) Ready() {
	m.started()
	m.tell(daemon.SdNotifyReady)
}

// Reloading says that a reload has begun; Ready ends it.
func (m *ServiceManager) Reloading() {
	// Type=notify-reload wants the monotonic time with it.
	m.tell(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
}

// Stopping says that the process is about to end.
func (m *ServiceManager) Stopping() {
	m.started()
	m.tell(daemon.SdNotifyStopping)
}

// extendStart keeps asking for more time to start: replaying a long WAL takes
// more than the 90 s that systemd gives by default.
func (m *ServiceManager) extendStart(ctx context.Context) {
	every(ctx, 10*time.Second, func() { m.tell("EXTEND_TIMEOUT_USEC=30000000") })
}

// Watchdog pats systemd's watchdog, if the unit has one, until the process
// stops: each time alive returns without an error. A process that hangs is restarted
// because it does not.
func (m *ServiceManager) Watchdog(alive func(context.Context) error) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		m.log.Warn("Could not read the interval of systemd's watchdog", "err", err)
	}
	if interval > 0 {
		go every(m.ctx, interval/3, func() { m.pat(interval/3, alive) })
	}
}

func (m *ServiceManager) pat(limit time.Duration, alive func(context.Context) error) {
	ctx, cancel := context.WithTimeout(m.ctx, limit)
	defer cancel()
	if err := alive(ctx); err != nil {
		if m.ctx.Err() == nil {
			m.log.Error("This process does not respond to its own health check: systemd's watchdog is not notified", "err", err)
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
