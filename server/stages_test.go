package server

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStagesStopInReverseEachBeforeTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStages(slog.New(slog.DiscardHandler))
		var order []string
		for _, name := range []string{"store", "ingest", "ruler"} {
			s.start(name, 0, func(ctx context.Context) error {
				<-ctx.Done()
				time.Sleep(time.Second) // in the fake time of synctest: ending takes a while
				order = append(order, name)
				return ctx.Err()
			})
		}
		s.push("requests", func() error { order = append(order, "requests"); return nil })
		require.NoError(t, s.unwind())
		require.Equal(t, []string{"requests", "ruler", "ingest", "store"}, order)
	})
}

func TestStagesReportTheFirstFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStages(slog.New(slog.DiscardHandler))
		stopped := false
		s.start("well", 0, func(ctx context.Context) error { <-ctx.Done(); stopped = true; return nil })
		s.start("ill", 0, func(context.Context) error { return errors.New("no disk") })
		require.EqualError(t, <-s.failed, "ill: no disk")
		require.NoError(t, s.unwind(), "a failure is told once")
		require.True(t, stopped, "and the others still stop")
	})
}

func TestStagesDoNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStages(slog.New(slog.DiscardHandler))
		release := make(chan struct{})
		stopped := false
		s.start("first", 0, func(ctx context.Context) error { <-ctx.Done(); stopped = true; return nil })
		s.start("stuck", time.Minute, func(context.Context) error { <-release; return nil })
		require.ErrorContains(t, s.unwind(), "stuck: did not stop within 1m0s")
		require.True(t, stopped, "one that hangs does not keep the rest")
		close(release)
	})
}
