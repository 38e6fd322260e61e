package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"

	"github.com/clanmon/clanmon/discovery/contract"
	"github.com/clanmon/clanmon/internal/atomicfile"
)

const (
	// pingState is the file in the data directory that has what pings said.
	pingState = "pings.json"
	// PingJob is the label job of the series of pings.
	PingJob = "ping"
	// storeEvery is how often their series get a sample.
	storeEvery = 15 * time.Second
	// aliveEvery is how often it is noted that pings are received.
	aliveEvery = 5 * time.Minute
	// runLimit is how long a run may take of which nothing is known.
	runLimit = 24 * time.Hour
	// durationsKept is how many durations the usual range is made of.
	durationsKept = 20
)

// pings receives pings, keeps what they say in a file, and writes it into the store.
type pings struct {
	opts Options

	saving sync.Mutex // one save at a time

	mu      sync.Mutex
	loaded  bool
	byToken map[hash]*ping
	order   []*ping
	states  map[string]*state
	deaf    span  // when no ping could be received, before the start
	changes int64 // counted, so that a save knows what it has
	saved   int64
	limits  map[hash]*rate
	guesses rate

	stored map[uint64]labels.Labels // series with a sample, to be ended
	lastT  int64
}

// span is a span of Unix time; zero for none.
type span struct{ From, To float64 }

// state is what is known of a ping, in Unix seconds, 0 for never.
type state struct {
	Since   float64 `json:"since"` // in the file
	Start   float64 `json:"start,omitempty"`
	Run     string  `json:"run,omitempty"` // rid of the start
	Running bool    `json:"running,omitempty"`
	End     float64 `json:"end,omitempty"`   // of the run that ended last
	Ended   string  `json:"ended,omitempty"` // its rid
	Success float64 `json:"success,omitempty"`
	// Result is of the last run that ended: success, exit-code or fail; "" if none did.
	Result   string  `json:"result,omitempty"`
	ExitCode int     `json:"exitCode,omitempty"` // -1 if it was not said
	Duration float64 `json:"duration,omitempty"` // 0 if there was no start
	// Durations are the last ones of successes.
	Durations []float64 `json:"durations,omitempty"`
	Command   bool      `json:"command,omitempty"` // clanmon job sent it
}

// saved is the content of the file.
type savedPings struct {
	Alive float64           `json:"alive"` // when pings were last received or could have been
	Pings map[string]*state `json:"pings"`
}

// apply takes the pings of the file. What is known of those that stay stays.
func (p *pings) apply(now time.Time) error {
	var source PingSource
	if p.opts.Pings != nil {
		source = p.opts.Pings()
	}
	all, err := source.read(false)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.loaded && len(all) > 0 {
		if err := p.load(now); err != nil {
			return err
		}
	}
	p.byToken, p.order = make(map[hash]*ping, len(all)), nil
	states := make(map[string]*state, len(all))
	for i := range all {
		one := &all[i]
		p.byToken[one.token] = one
		p.order = append(p.order, one)
		if states[one.name] = p.states[one.name]; states[one.name] == nil {
			states[one.name] = &state{Since: unix(now)}
			p.changes++
		}
	}
	p.states = states
	return nil
}

// load reads what is known from before the start. It is called with mu held.
func (p *pings) load(now time.Time) error {
	file := filepath.Join(p.opts.Dir, pingState)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		p.loaded = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("read what pings said: %w", err)
	}
	var s savedPings
	if err := json.Unmarshal(text, &s); err != nil {
		if err := p.opts.SetAside(file, "pings", "What pings said before is not known; the next ones are.", err); err != nil {
			return err
		}
	}
	p.states, p.loaded = s.Pings, true
	for name, st := range p.states {
		if st == nil {
			delete(p.states, name)
		}
	}
	if s.Alive > 0 {
		p.deaf = span{s.Alive, unix(now)}
	}
	return nil
}

// due is when a success has to have come, 0 if that is not said. A ping that may have come while
// nobody received it is not missed, but the next one is.
func (p *pings) due(one *ping, s *state) float64 {
	if one.every == 0 {
		return s.endDue()
	}
	every, grace := one.every.Seconds(), one.grace.Seconds()
	base := cmp.Or(s.Success, s.Since)
	due := base + every + grace
	if p.deaf.To > max(base, base+every-grace) && p.deaf.From < due {
		due += every
		if p.deaf.To-p.deaf.From >= every {
			due = max(due, p.deaf.To+every+grace)
		}
	}
	return due
}

// endDue is when a run has to have ended of which nobody said how often it is: after a day, or
// three times the longest of the runs before. It is 0 if none is running.
func (st *state) endDue() float64 {
	if !st.Running {
		return 0
	}
	longest := 0.0
	if len(st.Durations) > 0 {
		longest = slices.Max(st.Durations)
	}
	return st.Start + max(runLimit.Seconds(), 3*longest)
}

// signal is what a ping says.
type signal struct {
	start    bool
	result   string // success, exit-code or fail, of the end of a run
	exitCode int
	run      string        // rid
	took     time.Duration // of the run, 0 if that is not said
	command  bool
}

// take notes a signal. It returns when that is on the disk, or cannot be.
func (p *pings) take(one *ping, s signal, now time.Time) {
	p.mu.Lock()
	st := p.states[one.name]
	if st == nil { // the file was read again in between
		p.mu.Unlock()
		return
	}
	st.Command = s.command
	if s.start {
		st.start(s, unix(now))
	} else {
		st.end(s, unix(now), unix(time.Now()))
	}
	p.changes++
	change := p.changes
	p.mu.Unlock()
	p.save(change)
}

// start notes a start, unless the end of that run came first: a request may be overtaken.
func (st *state) start(s signal, at float64) {
	if s.run == "" || s.run != st.Ended {
		st.Start, st.Run, st.Running = at, s.run, true
	}
}

// end notes the end of a run. One that is reported after that of a later run, since the server was
// away, changes only what it can: there was a success.
func (st *state) end(s signal, at, now float64) {
	duration := s.took.Seconds()
	if duration == 0 && st.Running && st.Run == s.run {
		duration = max(at-st.Start, 0.001)
	}
	if s.result == resultSuccess {
		if st.Success = max(st.Success, at); st.Success > now {
			st.Success = at // the clock was ahead
		}
		if duration > 0 {
			st.Durations = append(st.Durations, duration)
			st.Durations = st.Durations[max(0, len(st.Durations)-durationsKept):]
		}
	}
	other := st.Running && s.run != "" && st.Run != s.run
	if at < st.End && st.End <= now { // not if the clock was ahead then
		return
	}
	st.Result, st.ExitCode, st.Duration, st.End, st.Ended = s.result, s.exitCode, duration, at, s.run
	switch {
	case other: // its start stays
	case s.took > 0:
		st.Start = at - duration
	case !st.Running:
		st.Start = at
	}
	st.Running = other
}

// save writes the file, unless it has the change already: those who wait for one another share
// one write.
func (p *pings) save(change int64) {
	p.saving.Lock()
	defer p.saving.Unlock()
	p.mu.Lock()
	if p.saved >= change || !p.loaded {
		p.mu.Unlock()
		return
	}
	change = p.changes
	text, err := json.Marshal(savedPings{Alive: unix(time.Now()), Pings: p.states})
	p.mu.Unlock()
	if err == nil {
		err = atomicfile.Write(filepath.Join(p.opts.Dir, pingState), 0o600, func(w io.Writer) error {
			_, err := w.Write(text)
			return err
		})
	}
	if err != nil {
		p.opts.Logger.Error("What pings said is not persisted, and would be lost with a crash", "err", err)
		return
	}
	p.mu.Lock()
	p.saved = change
	p.mu.Unlock()
}

// Run writes the series of pings until ctx ends.
func (j *Jobs) Run(ctx context.Context) error {
	p := &j.pings
	tick, alive := time.NewTicker(storeEvery), time.NewTicker(aliveEvery)
	defer tick.Stop()
	defer alive.Stop()
	for {
		p.store(ctx, time.Now())
		select {
		case <-tick.C:
		case <-j.pinged:
		case <-alive.C:
			p.note()
		case <-ctx.Done():
			p.note()
			return nil
		}
	}
}

// note saves that pings could be received until now.
func (p *pings) note() {
	p.mu.Lock()
	if len(p.order) == 0 {
		p.mu.Unlock()
		return
	}
	p.changes++
	change := p.changes
	p.mu.Unlock()
	p.save(change)
}

// store appends a sample to each series, and ends those that are gone.
func (p *pings) store(ctx context.Context, now time.Time) {
	p.mu.Lock()
	samples := p.samples()
	p.mu.Unlock()
	if len(samples)+len(p.stored) == 0 {
		return
	}
	t := max(now.UnixMilli(), p.lastT+1)
	app := p.opts.Appendable.AppenderV2(ctx)
	stored := make(map[uint64]labels.Labels, len(samples))
	add := func(ls labels.Labels, v float64) error {
		_, err := app.Append(0, ls, 0, t, v, nil, nil, storage.AOptions{})
		return err
	}
	var err error
	for _, s := range samples {
		stored[s.labels.Hash()] = s.labels
		if err = add(s.labels, s.value); err != nil {
			break
		}
	}
	for h, ls := range p.stored {
		if _, still := stored[h]; !still && err == nil {
			err = add(ls, math.Float64frombits(value.StaleNaN))
		}
	}
	if err != nil {
		_ = app.Rollback()
	} else {
		err = app.Commit()
	}
	if err != nil {
		p.opts.Logger.Warn("Series of pings are not stored", "err", err) // a store that fails has alerts of its own
		return
	}
	p.stored, p.lastT = stored, t
}

type pingSample struct {
	labels labels.Labels
	value  float64
}

// samples are those of all pings. It is called with mu held.
func (p *pings) samples() []pingSample {
	var all []pingSample
	b := labels.NewScratchBuilder(5)
	for _, one := range p.order {
		s := p.states[one.name]
		add := func(metric string, v float64, result string) {
			b.Reset()
			b.Add(model.MetricNameLabel, "clanmon_ping_"+metric)
			b.Add(model.JobLabel, PingJob)
			b.Add("name", one.name)
			if one.machine != "" {
				b.Add(contract.MachineLabel, one.machine)
			}
			if result != "" {
				b.Add("result", result)
			}
			b.Sort()
			all = append(all, pingSample{b.Labels(), v})
		}
		running := 0.0
		if s.Running {
			running = 1
		}
		add("running", running, "")
		for metric, v := range map[string]float64{
			"last_success_timestamp_seconds": s.Success, "last_start_timestamp_seconds": s.Start,
			"last_duration_seconds": s.Duration, "due_timestamp_seconds": p.due(one, s),
		} {
			if v > 0 {
				add(metric, v, "")
			}
		}
		if s.Result != "" {
			add("last_exit_code", float64(s.ExitCode), s.Result)
		}
	}
	return all
}

// rows are the pings as jobs.
func (p *pings) rows(now time.Time) []Job {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := func(v float64) *float64 {
		if v == 0 {
			return nil
		}
		return &v
	}
	var all []Job
	for _, one := range p.order {
		s := p.states[one.name]
		r := Job{
			Machine: one.machine, Name: one.name, Kind: KindPing, LastSuccess: known(s.Success), LastRun: known(s.Start),
			LastResult: s.Result, Duration: known(s.Duration), Next: known(p.due(one, s)), Gap: known(one.every.Seconds()),
		}
		if s.Command {
			r.Kind = KindJob
		}
		if one.backup {
			r.Backup = one.name
		}
		if s.Result != "" && s.ExitCode >= 0 {
			code := s.ExitCode
			r.ExitCode = &code
		}
		if len(s.Durations) > 0 {
			r.Usual = &Range{slices.Min(s.Durations), slices.Max(s.Durations)}
		}
		r.Overdue = r.Next != nil && *r.Next < unix(now)
		switch {
		case s.Running && !r.Overdue:
			r.State = StateRunning
		case s.Result != "" && s.Result != resultSuccess:
			r.State = StateFailed
		case r.Overdue:
			r.State = StateLate
		case s.Success == 0:
			r.State = StateNever
		default:
			r.State = StateOK
		}
		all = append(all, r)
	}
	return all
}
