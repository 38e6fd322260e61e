package contract

import (
	"context"
	"log/slog"
	"slices"
)

// SharedLog is a log for discoverers of several jobs. Prometheus labels each one's
// lines with its job ("config"). What is the same for all jobs is said by one of
// them, and without that label: it would name a job by chance.
func SharedLog(log *slog.Logger) *slog.Logger {
	return slog.New(sharedHandler{log.Handler(), log.Handler()})
}

type sharedHandler struct {
	own    slog.Handler
	shared slog.Handler // without the job
}

func (h sharedHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.own.Enabled(ctx, level)
}

func (h sharedHandler) Handle(ctx context.Context, r slog.Record) error { return h.own.Handle(ctx, r) }

func (h sharedHandler) WithGroup(name string) slog.Handler {
	return sharedHandler{h.own.WithGroup(name), h.shared.WithGroup(name)}
}

func (h sharedHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	most := slices.DeleteFunc(slices.Clone(attrs), func(a slog.Attr) bool { return a.Key == "config" })
	return sharedHandler{h.own.WithAttrs(attrs), h.shared.WithAttrs(most)}
}

// shared is log without the job.
func shared(log *slog.Logger) *slog.Logger {
	if h, ok := log.Handler().(sharedHandler); ok {
		return slog.New(h.shared)
	}
	return log
}
