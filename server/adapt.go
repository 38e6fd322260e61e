package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"

	checkdefs "github.com/clanmon/clanmon/discovery/checks"
	"github.com/clanmon/clanmon/discovery/contract"
	"github.com/clanmon/clanmon/server/backfill"
	"github.com/clanmon/clanmon/server/capacity"
	"github.com/clanmon/clanmon/server/config"
	"github.com/clanmon/clanmon/server/delivery"
	"github.com/clanmon/clanmon/server/digest"
	"github.com/clanmon/clanmon/server/events"
	"github.com/clanmon/clanmon/server/fleet"
	"github.com/clanmon/clanmon/server/internal/backups"
	"github.com/clanmon/clanmon/server/jobs"
	"github.com/clanmon/clanmon/server/look"
	"github.com/clanmon/clanmon/server/push"
	"github.com/clanmon/clanmon/server/ruler"
	"github.com/clanmon/clanmon/server/traffic"
	"github.com/clanmon/clanmon/server/uptime"
)

// What fleet asks of the other rooms, in its own words. Each is asked while the
// server runs, when all of them are there; an agent lacks some.

// machineQuery evaluates PromQL on what this server keeps itself.
func (s *Server) machineQuery() func(context.Context, string, time.Time) (promql.Vector, error) {
	if s.opts.Agent {
		return nil
	}
	return func(ctx context.Context, expr string, t time.Time) (promql.Vector, error) {
		q, err := s.own.NewInstantQuery(ctx, s.store.Local(), nil, expr, t)
		if err != nil {
			return nil, err
		}
		defer q.Close()
		return q.Exec(ctx).Vector()
	}
}

// checkQuery is machineQuery for the checks, which are made before the engine.
func (s *Server) checkQuery(ctx context.Context, expr string, t time.Time) (promql.Vector, error) {
	if query := s.machineQuery(); query != nil {
		return query(ctx, expr, t)
	}
	return nil, nil // an agent keeps nothing
}

// machineFullIn is how long it takes until volumes are full, in seconds.
func (s *Server) machineFullIn(ctx context.Context, t time.Time) (promql.Vector, error) {
	if s.capacity == nil {
		return nil, nil // an agent keeps nothing
	}
	return s.capacity.FullIn(ctx, t)
}

// storageRoom is the data directory in the words of capacity.
func (s *Server) storageRoom() (capacity.Storage, bool) {
	r := s.store.Room()
	if r == nil {
		return capacity.Storage{}, false
	}
	return capacity.Storage{Used: float64(r.Blocks), Free: float64(r.Free), Expected: float64(r.Expected), Growth: float64(r.Growth)}, true
}

// newTraffic returns the room that counts traffic.
func (s *Server) newTraffic(q ruler.Quota) (*traffic.Traffic, error) {
	return traffic.New(traffic.Options{
		Store: s.store.Local(), Whose: s.fleet.Whose, Quota: traffic.Quota(q),
		Dir: s.opts.Dir, SetAside: s.store.SetAside, Logger: s.opts.Logger.With("component", "traffic"),
	})
}

// knownBackups are those of the jobs, in the words of the digest.
func (s *Server) knownBackups(ctx context.Context) ([]digest.Backup, error) {
	all, err := s.jobs.All(ctx)
	var found []digest.Backup
	for _, j := range all {
		if j.Backup == "" {
			continue
		}
		b := digest.Backup{Name: j.Backup, Machine: j.Machine}
		b.Bad = j.Overdue || j.State == jobs.StateFailed || j.State == jobs.StateLate
		b.Unknown = j.State == jobs.StateUnknown || j.State == jobs.StateNever
		if j.LastSuccess != nil {
			b.LastSuccess = time.Unix(int64(*j.LastSuccess), 0)
		}
		found = append(found, b)
	}
	return found, err
}

// writeDigest is a digest in the words of delivery.
func (s *Server) writeDigest(ctx context.Context, from, to time.Time) (delivery.Digest, error) {
	r, err := digest.New(digest.Options{Query: s.checkQuery, Backups: s.knownBackups, NoRules: len(s.ruler.Manager().AlertingRules()) == 0}).Report(ctx, from, to)
	if errors.Is(err, digest.ErrNothing) {
		return delivery.Digest{}, nil
	}
	return delivery.Digest(r), err
}

func (s *Server) machineStore() storage.Queryable {
	if s.opts.Agent {
		return nil
	}
	return s.store.Local()
}

// eventStore is what events are read from; nil for an agent, which keeps nothing.
func (s *Server) eventStore() storage.SampleAndChunkQueryable {
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

// isMachine reports whether there is a machine of that name.
func (s *Server) isMachine(name string) bool {
	_, known := s.fleet.Scraped(name)
	return known
}

// machineSeries selects the series of a machine.
func (s *Server) machineSeries(name string) []*labels.Matcher {
	ms, err := parser.NewParser(parser.Options{}).ParseMetricSelector("{" + s.fleet.Selector(name) + "}")
	if err != nil {
		return nil
	}
	return ms
}

// eventSilences are all silences, in the words of events.
func (s *Server) eventSilences(ctx context.Context) []events.Silence {
	var all []events.Silence
	for _, x := range s.delivery.Silences(ctx) {
		e := events.Silence{By: x.By, Comment: x.Comment, Starts: x.Starts, Ends: x.Ends}
		if len(x.Matchers) == 1 {
			e.Matchers = x.Matchers[0].String()
			for _, m := range *x.Matchers[0] {
				if m.Type == amlabels.MatchEqual && m.Name == contract.MachineLabel {
					e.Machine, e.OnlyMachine = m.Value, len(*x.Matchers[0]) == 1
				}
			}
		}
		all = append(all, e)
	}
	return all
}

// maintenance are the silences that cover the alert MachineDown of machines.
func (s *Server) maintenance(ctx context.Context) []uptime.Silence {
	tags := make(map[string]string)
	for _, m := range s.fleet.Machines() {
		if len(m.Tags) > 0 {
			tags[m.Name] = "," + strings.Join(m.Tags, ",") + "," // as alerts have them
		}
	}
	var all []uptime.Silence
	for _, x := range s.delivery.Silences(ctx) {
		all = append(all, uptime.Silence{From: x.Starts, To: x.Ends, Covers: func(machine string) bool {
			return x.Matchers.Matches(model.LabelSet{
				model.AlertNameLabel: "MachineDown", "severity": "critical",
				contract.MachineLabel: model.LabelValue(machine), "tags": model.LabelValue(tags[machine]),
			})
		}})
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

// peers are the other servers of the cluster that differ from this one.
func (s *Server) peers() []fleet.Peer {
	var all []fleet.Peer
	for _, d := range s.delivery.Differences() {
		all = append(all, fleet.Peer{Differs: d.Text, Detail: d.Detail})
	}
	return all
}

// about is what this server says of itself to the others of its cluster.
func (s *Server) about() delivery.About {
	a := delivery.About{
		Name: cmp.Or(s.opts.Delivery.Replica, s.opts.Web.ExternalURL.Host),
		URL:  strings.TrimSuffix(s.opts.Web.ExternalURL.String(), "/"), Version: s.opts.ClanmonVersion,
	}
	a.Named(s.fleet.States())
	return a
}

// quiet is the schedule of delivery in the words of fleet.
func (s *Server) quiet() (until string, quiet bool) {
	schedule := s.delivery.Schedule(time.Now()).Quiet
	if schedule == nil || !schedule.Active {
		return "", false
	}
	if schedule.Until != nil {
		until = " until " + schedule.Until.Format("15:04")
	}
	return until, true
}

func (s *Server) receivers() ([]fleet.Receiver, error) {
	list, err := s.store.RemoteWrites()
	all := make([]fleet.Receiver, len(list))
	for i, w := range list {
		all[i] = fleet.Receiver{Name: w.Name, URL: w.URL, Error: w.LastError, Failing: w.Failing()}
		if w.LastSent != nil {
			all[i].LastSent = *w.LastSent
		}
	}
	return all, err
}

// targets are those that are scraped now, by job.
func (s *Server) targets() map[string][]*scrape.Target { return s.ingest.Scrapes().TargetsActive() }

// scrapedExporters are where this server scrapes a machine.
func (s *Server) scrapedExporters(machine string) ([]look.Exporter, bool) {
	all, known := s.fleet.Scraped(machine)
	exporters := make([]look.Exporter, len(all))
	for i, t := range all {
		exporters[i] = look.Exporter(t)
	}
	return exporters, known
}

// scrapedMachines are the machines of this server's own targets.
func (s *Server) scrapedMachines() map[string]bool {
	own := make(map[string]bool)
	for _, targets := range s.targets() {
		for _, t := range targets {
			own[t.GetValue(contract.MachineLabel)] = true
		}
	}
	return own
}

// newBackfill returns the room that fills gaps, nil if it is off.
func (s *Server) newBackfill(remoteWrite bool) *backfill.Backfill {
	o := &s.opts
	if !o.fills(s.loader.Managed(), remoteWrite) {
		return nil
	}
	return backfill.New(backfill.Options{
		MaxAge: o.Backfill.MaxAge, Targets: s.targets, Job: s.ingest.Scrapes().ScrapePoolConfig, Client: s.look.Client,
		Store: s.store.Local(), Appendable: s.store, Delete: s.store.Local().Delete,
		Dir: o.Dir, SetAside: s.store.SetAside, Registerer: o.Registerer, Logger: o.Logger.With("component", "backfill"),
	})
}

// withShippedRules reports whether the built-in rules are evaluated.
func (s *Server) withShippedRules() bool {
	switch s.opts.Rules.Builtin {
	case "on":
		return true
	case "off":
		return false
	}
	return s.loader.Managed() || s.pings().Any() // or nobody is told of a job that fails
}

// reports are the status reports of clanmon's own discovery mechanisms.
func reports[T any](m *discovery.SDMetrics, ask func(contract.Reporter) []T) []T {
	var all []T
	for _, name := range slices.Sorted(maps.Keys(m.MechanismMetrics)) {
		if r, ok := m.MechanismMetrics[name].(contract.Reporter); ok {
			all = append(all, ask(r)...)
		}
	}
	return all
}

// lateScrapes gives remote write the scrape manager, which is created after it.
type lateScrapes struct {
	manager atomic.Pointer[scrape.Manager]
}

func (l *lateScrapes) Get() (*scrape.Manager, error) {
	if m := l.manager.Load(); m != nil {
		return m, nil
	}
	return nil, errors.New("scrape manager not ready")
}

// pings are those of the flags and of the settings.
func (s *Server) pings() jobs.PingSource {
	return jobs.PingSource{File: s.opts.PingFile, Section: s.loader.Server().Pings, Where: s.opts.Discovery.SettingsFile}
}

// newPush returns the room for machines that send their samples.
func (s *Server) newPush(to storage.AppendableV2) *push.Push {
	return push.New(push.Options{
		Appendable: to, Store: s.store.Local(), Scraped: s.scrapedJobs,
		Reserved:     []string{config.SelfJob, jobs.PingJob, checkdefs.Job},
		Availability: s.opts.Push.Availability, MaxSeries: s.opts.Push.MaxSeries,
		MaxConnections: s.opts.Web.MaxConnections,
		Dir:            s.opts.Dir, SetAside: s.store.SetAside,
		Registerer: s.opts.Registerer, Logger: s.opts.Logger.With("component", "push"),
	})
}

// pushed is when a machine last pushed what belongs to a target.
func (s *Server) pushed(machine, job, instance string) time.Time {
	if s.push == nil {
		return time.Time{}
	}
	return s.push.Heard(machine, job, instance)
}

// scrapedJobs are the jobs of machines that this server scrapes, and whether they respond.
func (s *Server) scrapedJobs() map[push.Target]bool {
	all := make(map[push.Target]bool)
	for job, targets := range s.targets() {
		for _, t := range targets {
			if machine := t.GetValue(contract.MachineLabel); machine != "" {
				k := push.Target{Machine: machine, Job: cmp.Or(t.GetValue(model.JobLabel), job)}
				all[k] = all[k] || t.Health() == scrape.HealthGood
			}
		}
	}
	return all
}

// newJobs returns the room for jobs, which reads what the store keeps.
func (s *Server) newJobs() (*jobs.Jobs, error) {
	units, err := backups.New(s.opts.Rules.Shipped.BackupUnits)
	if err != nil {
		return nil, &ConfigError{Err: fmt.Errorf("--jobs.backup-units: %w", err)}
	}
	if err := s.pings().Check(false); err != nil {
		return nil, &ConfigError{Err: err}
	}
	return jobs.New(jobs.Options{
		Store: s.machineStore(), Recorded: s.withShippedRules, Backups: units,
		Pings: s.pings, Dir: s.opts.Dir, Appendable: s.store, SetAside: s.store.SetAside,
		Logger: s.opts.Logger.With("component", "jobs"),
	}), nil
}

// boardFiles are the files of read-only boards.
func (s *Server) boardFiles() []string { return slices.Concat(s.loader.Boards(), s.opts.Boards) }
