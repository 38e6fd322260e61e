package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// errSignal is the cause of a context that a signal cancelled.
type errSignal struct{ sig os.Signal }

func (e errSignal) Error() string { return fmt.Sprintf("received %s", e.sig) }

// signalContext returns a context that the first SIGINT or SIGTERM cancels,
// with an errSignal as its cause. stop releases the handler, so that a second
// signal then kills the process.
func signalContext() (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case sig := <-ch:
			cancel(errSignal{sig})
		case <-ctx.Done():
		}
		signal.Stop(ch)
	}()
	return ctx, func() { cancel(nil) }
}

// Hangups returns a channel that receives a value for every SIGHUP until ctx
// ends. It is registered at once, so that an early SIGHUP does not kill.
func Hangups(ctx context.Context) <-chan struct{} {
	sig := make(chan os.Signal, 1)
	signal.Notify(sig, syscall.SIGHUP)
	out := make(chan struct{}, 1)
	go func() {
		defer signal.Stop(sig)
		for {
			select {
			case <-sig:
				select {
				case out <- struct{}{}:
				default: // one reload is pending already
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}
