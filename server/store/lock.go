package store

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
)

// lock takes the data directory for this process, before anything in it is touched:
// two processes would set aside, repair and delete what the other one writes. It makes
// the directory, says plainly if it cannot be written to, and returns what gives it up.
func lock(o *Options) (release func() error, _ error) {
	disabled, subsystem := &o.TSDB.NoLockfile, "tsdb"
	if o.Agent {
		disabled, subsystem = &o.AgentDB.NoLockfile, "agent"
	}
	if err := os.MkdirAll(o.Dir, 0o777); err != nil {
		return nil, fmt.Errorf("data directory %q: %w", o.Dir, err)
	}
	locker, err := tsdbutil.NewDirLocker(o.Dir, subsystem, o.Logger, o.Registerer)
	if err != nil {
		return nil, err
	}
	if !*disabled {
		err = locker.Lock()
		*disabled = true // upstream's own, of the same file
	}
	if errors.Is(err, syscall.EAGAIN) {
		return nil, fmt.Errorf("%w: another process uses the data directory %q; stop it, or give this one a directory of its own (--storage.tsdb.path or --storage.agent.path)", err, o.Dir)
	}
	if err == nil {
		err = tryToWrite(o.Dir)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("data directory %q is not writable: %w", o.Dir, err), locker.Release())
	}
	return locker.Release, nil
}

// isLockMetric recognises the metric that upstream's databases export about a lock of
// their own, which they are told not to take; lock exports it.
func isLockMetric(c prometheus.Collector) bool {
	descs := make(chan *prometheus.Desc, 100)
	c.Describe(descs)
	close(descs)
	for d := range descs {
		if strings.Contains(d.String(), `_clean_start"`) {
			return true
		}
	}
	return false
}

// tryToWrite leaves nothing behind. A full disk is not an error here: the store waits
// for room.
func tryToWrite(dir string) error {
	probe, err := os.CreateTemp(dir, ".clanmon-probe-*")
	if errors.Is(err, syscall.ENOSPC) {
		return nil
	}
	if err != nil {
		return err
	}
	probe.Close()
	return os.Remove(probe.Name())
}
