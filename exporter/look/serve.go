// Package look is what a machine does when somebody looks at it. Listen answers
// requests, in a process that systemd starts for them: of a user that may read the journal
// and nothing else. Handler is the exporter's door to it, which knows who is outside; it
// gets no right by that.
package look

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	wire "github.com/clanmon/clanmon/internal/look"
)

// Listen answers requests, one of each connection, until none has come and none has been
// open for the time idle, or until ctx ends. Connections that come later wait in the
// socket for the next process: systemd starts it. It closes the listener.
func Listen(ctx context.Context, l *net.UnixListener, idle time.Duration, units wire.Units, log *slog.Logger) error {
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	slots := make(chan struct{}, maxOpen)
	for {
		slots <- struct{}{}
		conn, err := accept(l, idle)
		if err == nil {
			go func() {
				defer func() { <-slots }()
				defer conn.Close()
				if err := serve(ctx, conn, conn, units, log); err != nil {
					log.Warn("Response was cut off", "err", err)
				}
			}()
			continue
		}
		<-slots
		open := len(slots) > 0
		switch {
		case ctx.Err() != nil:
			for range maxOpen { // all have ended, and with them their journalctl
				slots <- struct{}{}
			}
			return nil
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		case !open:
			return nil
		}
	}
}

func accept(l *net.UnixListener, idle time.Duration) (*net.UnixConn, error) {
	if err := l.SetDeadline(time.Now().Add(idle)); err != nil {
		return nil, err
	}
	conn, err := l.AcceptUnix()
	if err != nil {
		return nil, err
	}
	// No request takes longer, whatever it waits for.
	return conn, conn.SetDeadline(time.Now().Add(wire.MaxFollowTime + slackTime))
}

// serve reads a request from in and writes the response to out. It ends when the response
// is complete, when in ends or fails, because then nobody listens any more, or with ctx.
// What is wrong with a request or with the machine is part of the response; the error is
// about in and out.
func serve(ctx context.Context, in io.Reader, out io.Writer, units wire.Units, log *slog.Logger) error {
	w := &writer{out: bufio.NewWriter(out)}
	r, err := wire.ReadRequest(in)
	if err != nil {
		log.Warn("Refused to look", "err", err)
		return w.end(wire.End{Error: err.Error()})
	}
	if why := units.Refusal(r); why != "" {
		log.Warn("Refused to look", "by", r.By, "kind", r.Kind, "unit", r.Unit, "reason", why)
		return w.end(wire.End{Error: why})
	}
	log.Info("Looked at", "by", r.By, "kind", r.Kind, "unit", r.Unit, "follow", r.Follow)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, in)
		cancel()
	}()
	limit := maxTime
	if r.Follow {
		limit = wire.MaxFollowTime
	}
	limited, stop := context.WithTimeout(ctx, limit)
	defer stop()
	var end wire.End
	if r.Kind == wire.Processes {
		end = processes(limited, w, units, r.Units)
	} else {
		end = journal(limited, w, r)
	}
	if ctx.Err() != nil {
		return nil // nobody listens
	}
	return w.end(end)
}

// maxTime is longer in tests, whose machine may be busy.
var maxTime = wire.MaxTime

// writer writes messages, one a line.
type writer struct {
	out *bufio.Writer
	err error
}

func (w *writer) write(m wire.Message) {
	text, err := json.Marshal(m)
	if w.err == nil && err == nil {
		_, err = w.out.Write(append(text, '\n'))
	}
	w.err = errors.Join(w.err, err)
}

func (w *writer) flush() { w.err = errors.Join(w.err, w.out.Flush()) }

func (w *writer) end(e wire.End) error {
	w.write(wire.Message{End: &e})
	w.flush()
	return w.err
}
