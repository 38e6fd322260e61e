package look

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	wire "github.com/clanmon/clanmon/internal/look"
	"github.com/clanmon/clanmon/server/internal/caller"
	"github.com/clanmon/clanmon/server/internal/envelope"
)

// journalAnswer are lines of a journal, the oldest first.
type journalAnswer struct {
	Machine string       `json:"machine"`
	Unit    string       `json:"unit,omitempty"`
	Lines   []wire.Entry `json:"lines"`
	// Limit is why there may be more lines before the first: lines, bytes or time; "" if
	// these are all.
	Limit string `json:"limit,omitempty"`
	// Incomplete is why lines are missing although no limit was reached; "" if none are.
	Incomplete string `json:"incomplete,omitempty"`
}

// processesAnswer are processes that use most.
type processesAnswer struct {
	Machine   string         `json:"machine"`
	Processes []wire.Process `json:"processes"`
	Total     int            `json:"total"` // of the machine
}

// defaultLines is how many lines of a journal are read.
const defaultLines = 200

// JournalHandler serves /api/clanmon/v1/journal: an answer in JSON, or with follow=true
// events of a text/event-stream whose data are lines and whose id is their cursor.
func (l *Look) JournalHandler() http.Handler {
	return l.handler(func(w http.ResponseWriter, r *http.Request, by string) error {
		machine, asked, err := journalRequest(r)
		if err != nil {
			return err
		}
		asked.By = by
		l.log(r, machine, asked)
		if asked.Follow {
			return l.follow(w, r, machine, asked)
		}
		a := journalAnswer{Machine: machine, Unit: asked.Unit, Lines: []wire.Entry{}}
		end, err := l.collect(r.Context(), machine, asked, func(m wire.Message) bool {
			if m.Entry != nil {
				a.Lines = append(a.Lines, *m.Entry)
			}
			return len(a.Lines) < wire.MaxLines
		})
		if err != nil {
			return err
		}
		a.Limit, a.Incomplete = end.Reason, end.Incomplete
		envelope.Success(w, a)
		return nil
	})
}

// ProcessesHandler serves /api/clanmon/v1/processes.
func (l *Look) ProcessesHandler() http.Handler {
	return l.handler(func(w http.ResponseWriter, r *http.Request, by string) error {
		machine, err := machineOf(r.URL.Query(), "machine")
		if err != nil {
			return err
		}
		asked := wire.Request{Kind: wire.Processes, By: by}
		l.log(r, machine, asked)
		a := processesAnswer{Machine: machine, Processes: []wire.Process{}}
		end, err := l.collect(r.Context(), machine, asked, func(m wire.Message) bool {
			if m.Process != nil {
				a.Processes = append(a.Processes, *m.Process)
			}
			return len(a.Processes) < wire.MaxLines
		})
		if err != nil {
			return err
		}
		a.Total = end.Total
		envelope.Success(w, a)
		return nil
	})
}

// handler lets operators through, so many at one time.
func (l *Look) handler(serve func(w http.ResponseWriter, r *http.Request, by string) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := func() error {
			switch {
			case r.URL.Path != "" && r.URL.Path != "/":
				return refuse(http.StatusNotFound, "there is nothing at this path")
			case r.Method != http.MethodGet:
				w.Header().Set("Allow", http.MethodGet)
				return refuse(http.StatusMethodNotAllowed, "the method must be GET")
			}
			by, err := l.mayLook(caller.From(r.Context()), r)
			if err != nil {
				return err
			}
			select {
			case l.slots <- struct{}{}:
				defer func() { <-l.slots }()
			default:
				return refuse(http.StatusServiceUnavailable, "machines are looked at %d times at once already; try again later", maxOpen)
			}
			w.Header().Set("Cache-Control", "no-store")
			return serve(w, r, by)
		}()
		if err == nil || r.Context().Err() != nil {
			return
		}
		code := http.StatusBadGateway
		if said, ok := errors.AsType[*refusal](err); ok {
			code = said.code
		}
		envelope.Error(w, code, err.Error())
	})
}

// mayLook is the name of who asks, if c is an operator.
func (l *Look) mayLook(c caller.Caller, r *http.Request) (by string, err error) {
	switch {
	case !l.opts.Enabled:
		return "", refuse(http.StatusForbidden, "looking at machines is off: start the server with --look (docs/look.md)")
	case !c.Configured:
		return "", refuse(http.StatusForbidden, "looking at machines needs to know who asks: name operators with --web.operator, or set passwords or client certificates in --web.config.file (docs/security.md)")
	case !c.May(caller.Operator):
		return "", refuse(http.StatusForbidden, "looking at machines is for operators, and %s has the role %s", nameOf(c), c.Role)
	// The answer could not be read there, but the machine would be kept busy.
	case r.Header.Get("Sec-Fetch-Site") == "cross-site", r.Header.Get("Sec-Fetch-Site") == "same-site":
		return "", refuse(http.StatusForbidden, "requests from pages of other sites are refused")
	}
	return nameOf(c), nil
}

func nameOf(c caller.Caller) string {
	if c.Identified() {
		return c.Name
	}
	return "somebody who is not identified"
}

// log says who looks, before anything is asked.
func (l *Look) log(r *http.Request, machine string, asked wire.Request) {
	c := caller.From(r.Context())
	l.opts.Logger.Info("Looking at a machine", "who", nameOf(c), "via", c.Via, "client", r.RemoteAddr,
		"machine", machine, "kind", asked.Kind, "unit", asked.Unit, "follow", asked.Follow)
}

// machineOf is the machine that the parameters name; others than those known are an error,
// because a filter that is misspelt would not filter.
func machineOf(q url.Values, known ...string) (string, error) {
	for name, values := range q {
		if !slices.Contains(known, name) {
			return "", refuse(http.StatusBadRequest, "unknown parameter %q; parameters: %s", name, strings.Join(known, ", "))
		}
		if len(values) > 1 {
			return "", refuse(http.StatusBadRequest, "the parameter %s is there %d times", name, len(values))
		}
	}
	machine := q.Get("machine")
	if machine == "" {
		return "", refuse(http.StatusBadRequest, "the parameter machine is missing")
	}
	return machine, nil
}

// priorities are journald's words.
var priorities = []string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}

func journalRequest(r *http.Request) (machine string, asked wire.Request, err error) {
	q := r.URL.Query()
	if machine, err = machineOf(q, "machine", "unit", "lines", "since", "until", "priority", "grep", "boot", "follow", "after"); err != nil {
		return "", asked, err
	}
	asked = wire.Request{Kind: wire.Journal, Unit: q.Get("unit"), Grep: q.Get("grep"), Boot: q.Get("boot"), After: q.Get("after"), Lines: defaultLines}
	bad := func(name, want string) error {
		return refuse(http.StatusBadRequest, "%s %.100q: it must be %s", name, q.Get(name), want)
	}
	if text := q.Get("lines"); text != "" {
		if asked.Lines, err = strconv.Atoi(text); err != nil {
			return "", asked, bad("lines", fmt.Sprintf("a number from 1 to %d", wire.MaxLines))
		}
	}
	for name, to := range map[string]*float64{"since": &asked.Since, "until": &asked.Until} {
		if text := q.Get(name); text != "" {
			if *to, err = parseTime(text); err != nil {
				return "", asked, bad(name, "a time in Unix seconds or RFC 3339")
			}
		}
	}
	if text := q.Get("priority"); text != "" {
		n, err := strconv.Atoi(text)
		if i := slices.Index(priorities, text); i >= 0 {
			n = i
		} else if err != nil {
			return "", asked, bad("priority", "from 0 to 7, or one of "+strings.Join(priorities, ", "))
		}
		asked.Priority = &n
	}
	if text := q.Get("follow"); text != "" {
		if asked.Follow, err = strconv.ParseBool(text); err != nil {
			return "", asked, bad("follow", "true or false")
		}
	}
	// A browser that lost its connection goes on where it was.
	if last := r.Header.Get("Last-Event-ID"); asked.Follow && last != "" {
		asked.After, asked.Since = last, 0
	}
	if asked.Follow && asked.After == "" && asked.Since == 0 {
		asked.Since = float64(time.Now().Unix())
	}
	if err := asked.Check(); err != nil {
		return "", asked, refuse(http.StatusBadRequest, "%s", err)
	}
	return machine, asked, nil
}

func parseTime(text string) (float64, error) {
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return float64(t.UnixMicro()) / 1e6, nil
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err == nil && (math.IsNaN(seconds) || math.IsInf(seconds, 0)) {
		err = strconv.ErrRange
	}
	return seconds, err
}

// collect reads a whole response.
func (l *Look) collect(ctx context.Context, machine string, asked wire.Request, use func(wire.Message) bool) (wire.End, error) {
	ctx, cancel := context.WithTimeout(ctx, wire.MaxTime+slackTime)
	defer cancel()
	res, err := l.open(ctx, machine, asked)
	if err != nil {
		return wire.End{}, err
	}
	defer res.Body.Close()
	end, err := read(res.Body, wire.MaxBytes+slackBytes, use)
	if err == nil && end.Error != "" {
		err = refuse(http.StatusBadGateway, "%s: %s", machine, end.Error)
	}
	return end, err
}

// follow passes lines on as they come, until the client goes away or a limit is reached. The
// event "end" says that there will be no more; a browser connects again after other ends.
func (l *Look) follow(w http.ResponseWriter, r *http.Request, machine string, asked wire.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), wire.MaxFollowTime+slackTime)
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go l.watch(ctx, r, stop)
	res, err := l.open(ctx, machine, asked)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // a proxy must not collect lines
	control := http.NewResponseController(w)
	_ = control.Flush()
	event := func(text string, data any) bool {
		line, err := json.Marshal(data)
		if err == nil {
			_, err = fmt.Fprintf(w, "%sdata: %s\n\n", text, line)
		}
		return err == nil && control.Flush() == nil
	}
	end, err := read(res.Body, wire.MaxFollowBytes+slackBytes, func(m wire.Message) bool {
		if m.Entry == nil {
			return true
		}
		id := ""
		if m.Entry.Cursor != "" {
			id = "id: " + strings.ReplaceAll(m.Entry.Cursor, "\n", "") + "\n"
		}
		return event(id, m.Entry)
	})
	why := cmp.Or(end.Error, end.Incomplete)
	if gone, ok := errors.AsType[*refusal](context.Cause(ctx)); ok {
		why = gone.text
	} else if err != nil && ctx.Err() == nil {
		why = err.Error()
	}
	if why != "" {
		event("event: end\n", map[string]string{"error": why})
	}
	return nil
}

// watch stops a follower who may no longer look. It returns when ctx ends.
func (l *Look) watch(ctx context.Context, r *http.Request, stop context.CancelCauseFunc) {
	tick := time.NewTicker(l.recheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if _, err := l.mayLook(caller.Again(r.Context()), r); err != nil {
				l.opts.Logger.Info("Stopped looking at a machine", "who", nameOf(caller.From(r.Context())), "client", r.RemoteAddr, "reason", err)
				stop(err)
			}
		}
	}
}
