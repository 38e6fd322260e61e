// Package digest writes the report of a week or a day that people get by their receivers:
// how long machines were up, what fired, which disks fill up, which backups are late, which
// certificates expire and which machines need a reboot.
//
// It reads what the built-in rules and the exporters have stored and sends nothing. A
// section about which nothing is known is left out.
package digest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql"
)

// Options for New. Query is required.
type Options struct {
	// Query evaluates PromQL at a time.
	Query func(ctx context.Context, expr string, t time.Time) (promql.Vector, error)
	// Backups are those that are known now. May be nil.
	Backups func(ctx context.Context) ([]Backup, error)
	// NoRules tells that there are no alerting rules, so that nothing can fire.
	NoRules bool
}

// Backup is a job that is known to be a backup.
type Backup struct {
	Name, Machine string
	LastSuccess   time.Time // zero for never
	Bad           bool      // it failed, is late, or never succeeded
	Unknown       bool      // its machine does not say how it is now, or it has not run yet
}

// Digest writes reports. Safe for concurrent use.
type Digest struct{ opts Options }

// New returns a Digest.
func New(o Options) *Digest { return &Digest{o} }

// Report is what people read: plain text, a line for each section.
type Report struct{ Title, Text string }

// ErrNothing says that nothing is stored of the time that a report is about.
var ErrNothing = errors.New("no machine or check was monitored in this time")

// Report is about the time between from and to.
func (d *Digest) Report(ctx context.Context, from, to time.Time) (Report, error) {
	r := &report{Digest: d, ctx: ctx, from: from, to: to, window: model.Duration(to.Sub(from).Round(time.Second)).String()}
	r.machines()
	r.alerts()
	r.disks()
	r.traffic()
	r.backups()
	r.checks()
	r.certificates()
	r.reboots()
	switch {
	case r.err != nil:
		return Report{}, r.err
	case !r.monitored:
		return Report{}, ErrNothing
	}
	return Report{Title: strings.Join(r.title, ", "), Text: strings.Join(r.lines, "\n")}, nil
}

// report is one that is being written. After an error it asks nothing more.
type report struct {
	*Digest
	ctx       context.Context
	from, to  time.Time
	window    string // as PromQL writes the time between from and to
	err       error
	monitored bool
	title     []string
	lines     []string
}

// ask evaluates an expression, in which WINDOW stands for the time of the report.
func (r *report) ask(expr string) []row {
	if r.err != nil {
		return nil
	}
	v, err := r.opts.Query(r.ctx, strings.ReplaceAll(expr, "WINDOW", r.window), r.to)
	if err != nil {
		r.err = err
		return nil
	}
	rows := make([]row, 0, len(v))
	for _, s := range v {
		if !math.IsNaN(s.F) {
			rows = append(rows, row{s.Metric.Get, s.F})
		}
	}
	// The order of equals does not change from one report to the next.
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.label("machine"), b.label("machine")), cmp.Compare(a.label("alertname"), b.label("alertname")), cmp.Compare(a.label("check"), b.label("check")))
	})
	return rows
}

// row is a series and its value.
type row struct {
	label func(string) string
	value float64
}

func (r *report) line(format string, args ...any) {
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func (r *report) machines() {
	up := r.ask(`(avg_over_time(machine:up{machine!=""}[WINDOW]) or avg by (machine) (avg_over_time(up{machine!=""}[WINDOW])))
		unless on (machine) last_over_time(up{availability="intermittent"}[WINDOW])`)
	all := len(r.ask(`count by (machine) (last_over_time(up{machine!=""}[WINDOW]))`))
	if all == 0 {
		return
	}
	r.monitored = true
	r.title = append(r.title, count(all, "machine"))
	text := fmt.Sprintf("Machines: %d", all)
	if len(up) > 0 {
		slices.SortStableFunc(up, func(a, b row) int { return cmp.Compare(a.value, b.value) })
		sum := 0.0
		for _, x := range up {
			sum += x.value
		}
		r.title = append(r.title, percent(sum/float64(len(up)))+" uptime")
		text += ", up " + percent(sum/float64(len(up))) + " of the time" + r.watched()
		low := slices.DeleteFunc(up, func(x row) bool { return x.value >= 0.9999 })
		if len(low) > 0 {
			text += ". Lowest: " + list(low, func(x row) string { return x.label("machine") + " " + percent(x.value) })
		}
	}
	r.lines = append(r.lines, text)
}

// watched says of how much of the time something is known, if not of nearly all.
func (r *report) watched() string {
	const step = 5 * time.Minute
	for _, x := range r.ask(`count_over_time((0 * max(up{machine!=""}))[WINDOW:5m])`) {
		if known := time.Duration(x.value) * step; known < r.to.Sub(r.from)*98/100 {
			return " while this server ran (" + ago(known) + " of " + ago(r.to.Sub(r.from)) + ")"
		}
	}
	return ""
}

func (r *report) alerts() {
	what := func(x row) string {
		if where := cmp.Or(x.label("machine"), x.label("check"), x.label("instance")); where != "" {
			return x.label("alertname") + " on " + where
		}
		return x.label("alertname")
	}
	gravest := func(rows []row) []row {
		slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(a.label("severity"), b.label("severity")) }) // critical, warning
		return slices.CompactFunc(rows, func(a, b row) bool { return what(a) == what(b) })
	}
	const by = `max by (alertname, severity, machine, check, instance)`
	fired := gravest(r.ask(by + ` (label_replace(max_over_time(ALERTS{alertstate="firing",severity=~"critical|warning",machine!=""}[WINDOW]), "instance", "", "", "")
		or max_over_time(ALERTS{alertstate="firing",severity=~"critical|warning",machine=""}[WINDOW]))`))
	firing := gravest(r.ask(by + ` (label_replace(ALERTS{alertstate="firing",severity=~"critical|warning",machine!=""}, "instance", "", "", "")
		or ALERTS{alertstate="firing",severity=~"critical|warning",machine=""})`))
	if r.err != nil {
		return
	}
	if len(fired) == 0 && r.opts.NoRules {
		r.line("Alerts: there are no alerting rules")
		return
	}
	r.title = append(r.title, count(len(fired), "alert"))
	if len(fired) == 0 {
		r.line("Alerts: none fired")
		return
	}
	r.line("Alerts: %d fired: %s", len(fired), list(fired, what))
	if len(firing) > 0 {
		r.line("Still firing: %s", list(firing, what))
	}
}

// soon is how many days ahead the report looks.
const soon = 60

func (r *report) disks() {
	used := r.ask(`1 - volume:free:ratio{machine!=""}`)
	if len(used) == 0 {
		return
	}
	places := make(map[[3]string]string)
	key := func(x row) [3]string { return [3]string{x.label("machine"), x.label("instance"), x.label("device")} }
	for _, x := range r.ask(`node_filesystem_avail_bytes{machine!=""}`) {
		if p := places[key(x)]; p == "" || len(x.label("mountpoint")) < len(p) {
			places[key(x)] = x.label("mountpoint")
		}
	}
	full := make(map[[3]string]float64)
	for _, x := range used {
		full[key(x)] = x.value
	}
	what := func(x row) string {
		place := cmp.Or(places[key(x)], x.label("device"))
		if pool := x.label("pool"); pool != "" {
			place = "pool " + pool
		}
		return fmt.Sprintf("%s on %s (%s full)", place, x.label("machine"), percent(full[key(x)]))
	}
	days := r.ask(fmt.Sprintf(`last_over_time(volume:full_in:seconds{machine!=""}[10m]) / 86400 <= %d`, soon))
	slices.SortStableFunc(days, func(a, b row) int { return cmp.Compare(a.value, b.value) })
	if len(days) > 0 {
		r.line("Disks: full in %s", list(days, func(x row) string { return fmt.Sprintf("%s: %s", count(int(x.value), "day"), what(x)) }))
		return
	}
	slices.SortStableFunc(used, func(a, b row) int { return cmp.Compare(b.value, a.value) })
	r.line("Disks: none will be full within %d days. Fullest: %s", soon, list(used[:min(len(used), 3)], what))
}

// traffic is a line only where there is a quota.
func (r *report) traffic() {
	used := r.ask(`last_over_time(machine:traffic_quota_used:ratio{machine!=""}[10m])`)
	if len(used) == 0 {
		return
	}
	what := func(x row) string { return fmt.Sprintf("%s (%s)", x.label("machine"), percent(x.value)) }
	most := func(rows []row) []row {
		slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(b.value, a.value) })
		return rows
	}
	over := slices.DeleteFunc(slices.Clone(used), func(x row) bool { return x.value <= 1 })
	soon := r.ask(`last_over_time(machine:traffic_quota_expected:ratio{machine!=""}[10m]) > 1
		unless on (machine) last_over_time(machine:traffic_quota_used:ratio{machine!=""}[10m]) > 1`)
	var parts []string
	if len(over) > 0 {
		parts = append(parts, "exceeded by "+list(most(over), what))
	}
	if len(soon) > 0 {
		parts = append(parts, "expected to be exceeded by "+list(most(soon), what))
	}
	if len(parts) == 0 {
		r.line("Traffic: all within the monthly quota. Highest: %s", list(most(used)[:min(len(used), 3)], what))
		return
	}
	r.line("Traffic: monthly quota %s", strings.Join(parts, "; "))
}

func (r *report) backups() {
	if r.err != nil || r.opts.Backups == nil {
		return
	}
	all, err := r.opts.Backups(r.ctx)
	if err != nil {
		r.err = err
		return
	}
	if len(all) == 0 {
		return
	}
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b Backup) int {
		return cmp.Or(a.LastSuccess.Compare(b.LastSuccess), cmp.Compare(a.Name, b.Name))
	})
	if slices.ContainsFunc(all, func(b Backup) bool { return !b.LastSuccess.IsZero() && !b.LastSuccess.After(r.to) }) {
		r.monitored = true // what never succeeded may be new
	}
	bad := slices.DeleteFunc(slices.Clone(all), func(b Backup) bool { return !b.Bad })
	unknown := slices.DeleteFunc(slices.Clone(all), func(b Backup) bool { return !b.Unknown || b.Bad })
	what := func(b Backup) string {
		name := b.Name
		if b.Machine != "" {
			name += " on " + b.Machine
		}
		switch {
		case b.LastSuccess.IsZero() && b.Unknown:
			return name + " (no success is known)"
		case b.LastSuccess.IsZero():
			return name + " (never succeeded)"
		}
		return fmt.Sprintf("%s (last success %s ago)", name, ago(r.to.Sub(b.LastSuccess)))
	}
	text := fmt.Sprintf("Backups: %s, none is late or failed", count(len(all), "job"))
	switch {
	case len(bad) > 0:
		r.title = append(r.title, count(len(bad), "backup")+" overdue or failed")
		text = fmt.Sprintf("Backups: %d of %d late or failed: %s", len(bad), len(all), list(bad, what))
	case len(unknown) > 0:
		text = fmt.Sprintf("Backups: %s, none is known to be late or failed", count(len(all), "job"))
	}
	if len(unknown) > 0 {
		text += ". State unknown: " + list(unknown, what)
	}
	r.lines = append(r.lines, text)
}

func (r *report) checks() {
	up := r.ask(`avg by (check) (avg_over_time(probe_success{check!=""}[WINDOW]))`)
	if len(up) == 0 {
		return
	}
	r.monitored = true
	slices.SortStableFunc(up, func(a, b row) int { return cmp.Compare(a.value, b.value) })
	low := slices.DeleteFunc(slices.Clone(up), func(x row) bool { return x.value >= 0.9999 })
	if len(low) == 0 {
		r.line("Checks: %d, up all the time", len(up))
		return
	}
	r.line("Checks: %d. Lowest uptime: %s", len(up), list(low, func(x row) string { return x.label("check") + " " + percent(x.value) }))
}

func (r *report) certificates() {
	days := r.ask(`min by (check) (probe_ssl_earliest_cert_expiry{check!=""} - time()) / 86400`)
	if len(days) == 0 {
		return
	}
	slices.SortStableFunc(days, func(a, b row) int { return cmp.Compare(a.value, b.value) })
	near := slices.DeleteFunc(slices.Clone(days), func(x row) bool { return x.value > soon })
	if len(near) == 0 {
		r.line("Certificates: %d, all valid for more than %d days", len(days), soon)
		return
	}
	r.line("Certificates: %s", list(near, func(x row) string {
		if x.value < 0 {
			return x.label("check") + " has expired"
		}
		return fmt.Sprintf("%s expires in %s", x.label("check"), count(int(x.value), "day"))
	}))
}

func (r *report) reboots() {
	due := r.ask(`count by (machine) (clanmon_nixos_kernel_current{machine!=""} == 0 or clanmon_reboot_required{machine!=""} == 1)`)
	if len(due) > 0 {
		r.line("Reboot needed: %s", list(due, func(x row) string { return x.label("machine") }))
	}
}

// most is how many of a list are named.
const most = 6

func list[T any](all []T, text func(T) string) string {
	var named []string
	for _, x := range all[:min(len(all), most)] {
		named = append(named, text(x))
	}
	if more := len(all) - most; more > 0 {
		named = append(named, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(named, ", ")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// percent does not round up to 100.
func percent(ratio float64) string {
	p := math.Floor(ratio*10000) / 100
	return strconv.FormatFloat(p, 'f', -1, 64) + " %"
}

func ago(d time.Duration) string {
	if d < time.Hour {
		return count(int(d.Minutes()), "minute")
	}
	if d < 48*time.Hour {
		return count(int(d.Hours()), "hour")
	}
	return count(int(d.Hours()/24), "day")
}
