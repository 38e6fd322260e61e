package fleet

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/scrape"

	"github.com/clanmon/clanmon/discovery/contract"
	"github.com/clanmon/clanmon/server/internal/envelope"
)

// An exporter that is gone for good would stay a target that is down for as long as
// its machine is discovered. It can be forgotten: it is then what it was before it
// answered for the first time, and becomes a target again when it answers again.

// forgetError is why something cannot be forgotten.
type forgetError struct {
	code int // of HTTP
	text string
}

func (e *forgetError) Error() string { return e.text }

func cannotForget(code int, format string, args ...any) error {
	return &forgetError{code, fmt.Sprintf(format, args...)}
}

// Forgotten is a target that was forgotten.
type Forgotten struct {
	Machine  string `json:"machine"`
	Job      string `json:"job"`
	Instance string `json:"instance"`
}

// Forget forgets the targets of a machine: all of them, those of a job, or, with an
// instance, one. It forgets all or nothing: an error says which target would come
// straight back, and why. It returns when what is forgotten is on the disk.
func (f *Fleet) Forget(machine, job, instance string) ([]Forgotten, error) {
	health := f.targetHealth()
	wanted := func(k targetKey) bool {
		return (job == "" || job == k.job) && (instance == "" || instance == k.instance)
	}
	f.mu.RLock()
	var forgotten []Forgotten
	var places []spot
	var refusal error
	known := false
	if m := f.machines[machine]; m != nil {
		known = true
		for _, t := range m.Targets {
			k := targetKey{t.Job, t.Instance}
			if !wanted(k) {
				continue
			}
			forgotten = append(forgotten, Forgotten{machine, t.Job, t.Instance})
			if why := f.origins[k].comesBack(k, health[k]); why != "" && refusal == nil {
				refusal = cannotForget(http.StatusConflict, "%s", why)
			}
		}
		for _, o := range f.open[machine] {
			if wanted(o.targetKey) {
				places = append(places, spot{o.who, o.address})
			}
		}
	}
	f.mu.RUnlock()
	switch {
	case refusal != nil:
		return nil, refusal
	case len(forgotten) > 0:
		if err := f.gate.forget(places); err != nil {
			return nil, cannotForget(http.StatusInternalServerError, "forgotten only until this server restarts: %v", err)
		}
		return forgotten, nil
	}
	if fed, err := f.forgetFed(machine, job, instance); len(fed) > 0 || err != nil {
		return fed, err
	}
	return nil, f.notForgettable(machine, job, instance, known)
}

// comesBack is why a target would be one again at once, "" if it would not.
func (o origin) comesBack(k targetKey, health scrape.TargetHealth) string {
	what := fmt.Sprintf("%s (job %s)", k.instance, k.job)
	switch {
	case o.method == contract.MethodLocal:
		return what + " is part of this server: disable it with a server flag"
	case !o.asked:
		return fmt.Sprintf("%s is listed in %s: remove it there", what, o.from)
	case health == scrape.HealthGood:
		return fmt.Sprintf("%s still responds and would be discovered again: stop its exporter or remove it from %s", what, o.from)
	case health != scrape.HealthBad:
		return what + " has not been scraped yet: try again after its next scrape"
	}
	return ""
}

// notForgettable says what is wrong with a request in which no target is meant.
func (f *Fleet) notForgettable(machine, job, instance string, known bool) error {
	targets := f.opts.Targets()
	for _, m := range f.Methods() {
		if m.Method != sourceConfig {
			continue
		}
		for _, pool := range m.Jobs {
			if job != "" && pool != job {
				continue
			}
			for _, t := range targets[pool] {
				at := t.GetValue(model.InstanceLabel)
				if t.GetValue(contract.MachineLabel) == machine || host(at) == machine || instance != "" && at == instance {
					return cannotForget(http.StatusConflict, "%s (job %s) is in %s: remove it there", at, pool, m.From)
				}
			}
		}
	}
	if known {
		return cannotForget(http.StatusNotFound, "%s has no such target: /api/clanmon/v1/machines?machine=%s lists its targets", machine, machine)
	}
	if slices.ContainsFunc(f.gate.list(), func(w Waiting) bool { return w.Machine == machine }) {
		return cannotForget(http.StatusNotFound, "%s is not a target: it has never responded or is already forgotten, and is retried with back-off (see /api/clanmon/v1/discovery)", machine)
	}
	return cannotForget(http.StatusNotFound, "no target belongs to a machine %q: /api/clanmon/v1/machines lists the machines", machine)
}

// forgetFed forgets the targets of a machine that others scrape, once nothing is
// sent about them any more. It reports whether there were any.
func (f *Fleet) forgetFed(machine, job, instance string) ([]Forgotten, error) {
	v := f.view
	v.mu.Lock()
	defer v.mu.Unlock()
	j := v.now.Load().machines[machine]
	if j == nil {
		return nil, nil
	}
	var forgotten []Forgotten
	var keys []fedKey
	for _, m := range j.members {
		if m.fed.IsZero() || job != "" && job != m.Job || instance != "" && instance != m.Instance {
			continue
		}
		if m.Method == sourcePush {
			if m.Health == "up" {
				return nil, cannotForget(http.StatusConflict, "%s pushes %s (job %s): stop that on the machine", machine, m.Instance, m.Job)
			}
			f.opts.ForgetPushed(machine, m.Job, m.Instance)
		} else if time.Since(m.fed) < quietAfter {
			return nil, cannotForget(http.StatusConflict, "another server or agent sends samples of %s (job %s): remove it there and try again %s after the last sample", m.Instance, m.Job, quietAfter)
		}
		forgotten = append(forgotten, Forgotten{machine, m.Job, m.Instance})
		keys = append(keys, fedKey{m.labels.Get(contract.MachineLabel), m.series, m.Instance})
	}
	for _, key := range keys {
		delete(v.fed, key)
	}
	return forgotten, nil
}

// origin is the method that found a target, and whether the target can be forgotten
// while it fares like that.
func (f *Fleet) origin(t Target, health scrape.TargetHealth) (method string, forgettable bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	k := targetKey{t.Job, t.Instance}
	o, ok := f.origins[k]
	return o.method, ok && o.comesBack(k, health) == ""
}

// targetHealth is how targets fare, of those that were scraped.
func (f *Fleet) targetHealth() map[targetKey]scrape.TargetHealth {
	all := make(map[targetKey]scrape.TargetHealth)
	for job, targets := range f.opts.Targets() {
		for _, t := range targets {
			all[targetKey{job, t.GetValue(model.InstanceLabel)}] = t.Health()
		}
	}
	return all
}

// handleForgetting adds the endpoints to mux.
func (f *Fleet) handleForgetting(mux *http.ServeMux) {
	mux.HandleFunc("DELETE /machines/{machine}", func(w http.ResponseWriter, r *http.Request) {
		f.serveForget(w, r.PathValue("machine"), "", "")
	})
	mux.HandleFunc("DELETE /machines/{machine}/targets", func(w http.ResponseWriter, r *http.Request) {
		job, instance := r.FormValue("job"), r.FormValue("instance")
		if job == "" && instance == "" {
			refuseForget(w, cannotForget(http.StatusBadRequest, "name the target: ?job=JOB, ?instance=INSTANCE, or both"))
			return
		}
		f.serveForget(w, r.PathValue("machine"), job, instance)
	})
}

func (f *Fleet) serveForget(w http.ResponseWriter, machine, job, instance string) {
	forgotten, err := f.Forget(machine, job, instance)
	if err != nil {
		refuseForget(w, err)
		return
	}
	f.opts.Logger.Info("Forgotten: not a target until it responds again", "machine", machine, "targets", len(forgotten))
	envelope.Success(w, map[string]any{"forgotten": forgotten})
}

func refuseForget(w http.ResponseWriter, err error) {
	code := http.StatusInternalServerError
	if e, ok := err.(*forgetError); ok {
		code = e.code
	}
	envelope.Error(w, code, err.Error())
}
