package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// stages is a stack of everything that New and Run started, which stops in reverse
// order.
//
// A single cancelled context would stop everything at once. But rules must stop
// before scrapes, otherwise absent() fires falsely, and scrapes must stop before
// the store closes, otherwise samples are lost. Each runner therefore has its own
// context, and unwind stops them one by one, waiting for each.
type stages struct {
	logger *slog.Logger
	stack  []stage
	failed chan error // the first runner to fail
}

type stage struct {
	name  string
	stop  func() error // returns once the stage has ended
	quiet bool         // its end is of no interest to an operator
}

func newStages(logger *slog.Logger) *stages {
	return &stages{logger: logger, failed: make(chan error, 1)}
}

// start runs fn on a goroutine of its own until unwind cancels its context.
// A runner that returns before that, with an error, fails the whole.
// limit bounds the wait for its end; 0 waits for as long as it takes.
func (s *stages) start(name string, limit time.Duration, fn func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		err := fn(ctx)
		if err != nil && ctx.Err() == nil {
			err = fmt.Errorf("%s: %w", name, err)
			select {
			case s.failed <- err:
				err = nil // told there
			default:
			}
		}
		if errors.Is(err, context.Canceled) {
			err = nil
		}
		done <- err
	}()
	s.stack = append(s.stack, stage{name: name, stop: func() error {
		cancel()
		if limit == 0 {
			return <-done
		}
		select {
		case err := <-done:
			return err
		case <-time.After(limit):
			return fmt.Errorf("%s: did not stop within %s", name, limit)
		}
	}})
}

// push registers a function that unwind calls in its turn.
func (s *stages) push(name string, stop func() error) {
	s.stack = append(s.stack, stage{name: name, stop: stop})
}

// closer registers the release of a resource right where it is created, so that it is
// also released if the start fails later.
func (s *stages) closer(name string, release func() error) {
	s.stack = append(s.stack, stage{name: name, stop: release, quiet: true})
}

// unwind stops everything, last first. One failure does not stop the rest.
func (s *stages) unwind() error {
	var errs []error
	for i := len(s.stack) - 1; i >= 0; i-- {
		st := s.stack[i]
		begin := time.Now()
		err := st.stop()
		if !st.quiet {
			s.logger.Info("Stopped", "stage", st.name, "duration", time.Since(begin))
		}
		errs = append(errs, err)
	}
	s.stack = nil
	return errors.Join(errs...)
}
