package server

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"

	"github.com/clanmon/clanmon/server/fleet"
	"github.com/clanmon/clanmon/server/store"
)

// What fleet asks of the other rooms, in its own words. Each is asked while the
// server runs, when all of them are there; an agent lacks some.

// machineQuery evaluates PromQL on what this server keeps itself.
func (s *Server) machineQuery() func(context.Context, string, time.Time) (promql.Vector, error) {
	if s.opts.Agent {
		return nil
	}
	return func(ctx context.Context, expr string, t time.Time) (promql.Vector, error) {
		q, err := s.engine.NewInstantQuery(ctx, s.store.Local(), nil, expr, t)
		if err != nil {
			return nil, err
		}
		defer q.Close()
		return q.Exec(ctx).Vector()
	}
}

func (s *Server) machineStore() storage.Queryable {
	if s.opts.Agent {
		return nil
	}
	return s.store.Local()
}

// machineAlerts are the alerts that fire, as delivery knows them, and those that
// the rules hold back for a while.
func (s *Server) machineAlerts(ctx context.Context) []fleet.Alert {
	var all []fleet.Alert
	for _, a := range s.delivery.Firing(ctx) {
		all = append(all, fleet.Alert{
			Labels: a.Labels, Annotations: a.Annotations, Since: a.StartsAt,
			SilencedBy: a.SilencedBy, InhibitedBy: a.InhibitedBy, MutedBy: a.MutedBy,
		})
	}
	if s.ruler == nil {
		return all
	}
	for _, a := range s.ruler.Active() {
		if !a.Firing {
			all = append(all, fleet.Alert{Labels: labelSet(a.Labels), Annotations: labelSet(a.Annotations), Since: a.Fires, Pending: true})
		}
	}
	return all
}

func labelSet(ls labels.Labels) model.LabelSet {
	set := make(model.LabelSet, ls.Len())
	ls.Range(func(l labels.Label) { set[model.LabelName(l.Name)] = model.LabelValue(l.Value) })
	return set
}

func (s *Server) machineSilences(ctx context.Context) []fleet.Silence {
	var all []fleet.Silence
	for _, x := range s.delivery.ActiveSilences(ctx) {
		all = append(all, fleet.Silence{ID: x.ID, By: x.By, Comment: x.Comment, Ends: x.Ends, Matchers: x.Matchers})
	}
	return all
}

func (s *Server) machineRules() fleet.Rules {
	if s.ruler == nil {
		return fleet.Rules{}
	}
	p := s.ruler.Progress()
	return fleet.Rules{Builtin: s.withShippedRules(), Evaluated: p.Evaluated, Settled: p.Settled, Hold: p.Hold}
}

func (s *Server) machineStorage() fleet.Storage {
	h := s.store.Health()
	x := fleet.Storage{Refuses: !h.Storing, Since: h.Since, Reason: h.Reason, Unsafe: h.Unsafe}
	if len(h.Damaged) > 0 {
		d := h.Damaged[0]
		x.Damaged, x.DamageIs = d.What, fmt.Sprintf("They are in %s of the data directory: %s. %s", d.Path, d.Err, d.Hint)
	}
	return x
}

func (s *Server) receivers() ([]fleet.Receiver, error) {
	list, err := s.store.RemoteWrites()
	all := make([]fleet.Receiver, len(list))
	for i, w := range list {
		all[i] = fleet.Receiver{Name: w.Name, URL: w.URL, Error: w.LastError, Failing: w.State == store.RemoteBehind}
		if w.LastSent != nil {
			all[i].LastSent = *w.LastSent
		}
	}
	return all, err
}
