package server

import (
	"context"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// The service manager is told what the server is doing; without one these calls
// do nothing.

func notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("Could not notify systemd", "state", state, "err", err)
	}
}

func notifyReady(log *slog.Logger)    { notify(log, daemon.SdNotifyReady) }
func notifyStopping(log *slog.Logger) { notify(log, daemon.SdNotifyStopping) }

// notifyReloading carries the monotonic time, which Type=notify-reload needs.
func notifyReloading(log *slog.Logger) {
	notify(log, daemon.SdNotifyReloading+"\n"+daemon.SdNotifyMonotonicUsec())
}

// startExtension is how much time a slow start asks for at once. Replaying a
// long WAL takes minutes, more than the 90 s that systemd gives by default.
const startExtension = 30 * time.Second

// extendStart keeps asking for more time to start until ctx ends.
func extendStart(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(startExtension / 3)
	defer tick.Stop()
	for {
		notify(log, "EXTEND_TIMEOUT_USEC=30000000")
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// watchdog pats systemd's watchdog, if the unit has one, until ctx ends.
func watchdog(ctx context.Context, log *slog.Logger) error {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil || interval == 0 {
		<-ctx.Done()
		return err
	}
	tick := time.NewTicker(interval / 2)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			notify(log, daemon.SdNotifyWatchdog)
		case <-ctx.Done():
			return nil
		}
	}
}
