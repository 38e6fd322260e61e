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

// signalContext returns a context that the first SIGINT or SIGTERM cancels, with an
// errSignal as its cause. A second one changes nothing: a stop that is cut short loses
// what it was about to write. The third kills the process. stop releases the handler.
func signalContext() (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	stopped, stop := context.WithCancel(context.Background())
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM)
	go func() {
		defer cancel(nil)
		defer signal.Stop(ch)
		select {
		case sig := <-ch:
			cancel(errSignal{sig})
		case <-stopped.Done():
			return
		}
		select {
		case <-ch:
			fmt.Fprintln(os.Stderr, "already stopping; one more signal kills the process")
		case <-stopped.Done():
		}
	}()
	return ctx, stop
}

// Hangups returns a channel that receives a value for every SIGHUP until ctx
// ends. It is registered at once and stays so, so that neither an early nor a late
// SIGHUP kills.
func Hangups(ctx context.Context) <-chan struct{} {
	sig := make(chan os.Signal, 1)
	signal.Notify(sig, syscall.SIGHUP)
	out := make(chan struct{}, 1)
	go func() {
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
