// Package capacity says what is used up next: file systems and the pools that they share,
// inodes, memory, the data directory of the server, certificates and keys that expire.
//
// It has one method (see window), and everything that speaks of it reads its figures: the
// recording rule volume:full_in:seconds and the alert that reads it, the digest, the pages.
package capacity

import (
	"cmp"
	"context"
	"errors"
	"math"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
)

// Options for New.
type Options struct {
	// Query evaluates PromQL on what is stored; nil for an agent, which keeps nothing.
	Query func(ctx context.Context, expr string, t time.Time) (promql.Vector, error)
	// Volumes is the expression of the built-in rule volume:avail:bytes, for machines with and
	// without the label machine. It is evaluated where the rule has stored nothing; "" if it is
	// disabled.
	Volumes string
	// Whose returns what names the machine of a series, "" if it knows none; nil for labels alone.
	Whose func() func(labels.Labels) string
	// Storage is the data directory of this server; false while nothing is known of it.
	Storage func() (Storage, bool)
}

// Storage is a data directory, in bytes. Expected is its size once the oldest data reach the
// retention, Growth that of a day until then; 0 while they are not known.
type Storage struct{ Used, Free, Expected, Growth float64 }

// Capacity answers what is used up next. It is safe for concurrent use; one caller at a time
// reads the store.
type Capacity struct {
	opts Options
	turn chan struct{} // who holds it may use what follows

	volumes, inodes, memory *grid

	at    time.Time // of what follows
	now   promql.Vector
	lasts []Forecast // of each of now

	rows   []Row // as of rowsAt
	rowsAt time.Time
}

const (
	recorded = `volume:avail:bytes{machine!=""}`

	virtualFS = "tmpfs|ramfs|devtmpfs|squashfs|overlay|iso9660|efivarfs|fuse.*|nfs.*|cifs|smb3|9p|virtiofs"
	// File systems that make inodes as they need them have none to run out of.
	inodesLeft = `min by (machine, job, instance, device, fstype) (
		node_filesystem_files_free{fstype!~"btrfs|zfs|` + virtualFS + `"} and node_filesystem_files > 0 and node_filesystem_readonly == 0)`
	memoryLeft = `max by (machine, job, instance) (
		node_memory_MemAvailable_bytes + (node_zfs_arc_size - node_zfs_arc_c_min > 0) or node_memory_MemAvailable_bytes)`
)

// New returns a Capacity, which reads nothing until it is asked.
func New(o Options) *Capacity {
	c := &Capacity{opts: o, turn: make(chan struct{}, 1)}
	ask := func(expr string) func(context.Context, time.Time) (promql.Vector, error) {
		return func(ctx context.Context, t time.Time) (promql.Vector, error) { return o.Query(ctx, expr, t) }
	}
	c.volumes = newGrid(fine, c.left)
	c.inodes, c.memory = newGrid(coarse, ask(inodesLeft)), newGrid(coarse, ask(memoryLeft))
	return c
}

// left is what is left of all volumes at a time.
func (c *Capacity) left(ctx context.Context, t time.Time) (promql.Vector, error) {
	v, err := c.opts.Query(ctx, recorded, t)
	if err == nil && len(v) == 0 && c.opts.Volumes != "" {
		v, err = c.opts.Query(ctx, c.opts.Volumes, t)
	}
	return v, err
}

// hold waits for its turn. The caller must call the function that is returned.
func (c *Capacity) hold(ctx context.Context) (func(), error) {
	select {
	case c.turn <- struct{}{}:
		return func() { <-c.turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// fresh is how long figures are shown without another look, so that all places that show them
// at the same time show the same.
const fresh = 10 * time.Second

// look brings volumes up to date. The caller holds the turn.
func (c *Capacity) look(ctx context.Context, t time.Time) error {
	if age := t.Sub(c.at); age >= 0 && age < fresh && len(c.now) > 0 {
		return nil
	}
	if err := c.volumes.fill(ctx, t); err != nil {
		return err
	}
	now, err := c.left(ctx, t)
	if err != nil {
		return err
	}
	c.at, c.now, c.lasts = t, now, c.volumes.forecasts(now, 0)
	c.volumes.prune(len(now))
	return nil
}

// forecasts are those of what is left now. from is the first window that counts.
func (g *grid) forecasts(now promql.Vector, from int) []Forecast {
	all := make([]Forecast, len(now))
	space, rates := make([]float32, 0, len(g.times)), make([]float64, 0, len(g.times))
	for i, s := range now {
		left, trends := g.of(s.Metric, space, rates)
		all[i] = forecast(s.F, trends, from, g.times, left)
	}
	return all
}

// FullIn is how long it takes until volumes are full, in seconds, as of t: those that will be
// within a year. The labels are those of volume:avail:bytes.
func (c *Capacity) FullIn(ctx context.Context, t time.Time) (promql.Vector, error) {
	if c.opts.Query == nil {
		return nil, nil
	}
	done, err := c.hold(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := c.look(ctx, t); err != nil {
		return nil, err
	}
	var v promql.Vector
	for i, s := range c.now {
		if left := c.lasts[i].Left; left < math.Inf(1) {
			v = append(v, promql.Sample{T: t.UnixMilli(), F: left, Metric: s.Metric.DropReserved(func(name string) bool { return name == model.MetricNameLabel })})
		}
	}
	return v, nil
}

// Kinds of a Row.
const (
	KindFilesystem  = "filesystem"
	KindPool        = "pool"
	KindInodes      = "inodes"
	KindMemory      = "memory"
	KindStorage     = "storage"
	KindCertificate = "certificate"
	KindKey         = "key"
)

// Row is something that is used up, or expires. Sizes are in bytes, those of inodes are
// numbers. What is not known is missing.
type Row struct {
	Kind    string `json:"kind"`
	Machine string `json:"machine,omitempty"`
	// Name is a mountpoint, a pool or dataset, or a check.
	Name   string   `json:"name,omitempty"`
	Device string   `json:"device,omitempty"`
	Fstype string   `json:"fstype,omitempty"`
	Size   *float64 `json:"size,omitempty"`
	Used   *float64 `json:"used,omitempty"`
	// Growth is that of a typical day, looked at over 1, 7 and 30 days.
	Growth *Growth `json:"growth,omitempty"`
	// Due is when it is used up or expires, in Unix seconds; missing if that is not foreseen.
	Due      *float64 `json:"due,omitempty"`
	Earliest *float64 `json:"earliest,omitempty"`
	Latest   *float64 `json:"latest,omitempty"` // missing with Earliest: perhaps never
	// Trend is the window that says it: 6h, 1d, 7d or 30d.
	Trend string `json:"trend,omitempty"`
	// Known is false while there is too little data to foresee anything.
	Known bool `json:"known"`
}

// Growth is in units a day.
type Growth struct {
	Day   *float64 `json:"1d,omitempty"`
	Week  *float64 `json:"7d,omitempty"`
	Month *float64 `json:"30d,omitempty"`
}

// Warm reads ahead what Rows would have to wait for after a start, as of t.
func (c *Capacity) Warm(ctx context.Context, t time.Time) error {
	done, err := c.hold(ctx)
	if err != nil {
		return err
	}
	defer done()
	return errors.Join(c.volumes.fill(ctx, t), c.inodes.fill(ctx, t), c.memory.fill(ctx, t))
}

// Rows are all that is used up, what comes first being first. They are not to be changed.
func (c *Capacity) Rows(ctx context.Context, t time.Time) ([]Row, error) {
	rows := []Row{}
	if c.opts.Query == nil {
		return rows, nil
	}
	whose := c.whose() // which may wait for somebody who waits for the turn
	done, err := c.hold(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if age := t.Sub(c.rowsAt); age >= 0 && age < fresh && len(c.rows) > 0 {
		return c.rows, nil
	}
	for _, read := range []func(context.Context, time.Time, owner) ([]Row, error){c.filesystems, c.nodes, c.memories, c.expiring} {
		more, err := read(ctx, t, whose)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	if c.opts.Storage != nil {
		if s, ok := c.opts.Storage(); ok {
			rows = append(rows, s.row(t))
		}
	}
	slices.SortStableFunc(rows, func(a, b Row) int {
		return cmp.Or(
			cmp.Compare(orNever(a.Due), orNever(b.Due)), cmp.Compare(b.full(), a.full()),
			strings.Compare(a.Machine, b.Machine), strings.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name),
		)
	})
	c.rows, c.rowsAt = rows, t
	return rows, nil
}

func orNever(t *float64) float64 {
	if t == nil {
		return math.Inf(1)
	}
	return *t
}

func (r Row) full() float64 {
	if r.Size == nil || r.Used == nil {
		return 0
	}
	return *r.Used / *r.Size
}

// place is a volume of an instance.
type place struct{ machine, instance, device string }

func placeOf(ls labels.Labels) place {
	return place{ls.Get("machine"), ls.Get("instance"), ls.Get("device")}
}

// sizes are how large things are, and where they are mounted: the shortest path of several.
func (c *Capacity) sizes(ctx context.Context, expr string, t time.Time) (map[place]float64, map[place]string, error) {
	v, err := c.opts.Query(ctx, expr, t)
	size, mounts := make(map[place]float64), make(map[place]string)
	for _, s := range v {
		p, m := placeOf(s.Metric), s.Metric.Get("mountpoint")
		size[p] = max(size[p], s.F)
		if old, ok := mounts[p]; !ok || len(m) < len(old) || len(m) == len(old) && m < old {
			mounts[p] = m
		}
	}
	return size, mounts, err
}

// filesystems are the volumes, with what has to be looked up about them.
func (c *Capacity) filesystems(ctx context.Context, t time.Time, whose owner) ([]Row, error) {
	if err := c.look(ctx, t); err != nil {
		return nil, err
	}
	size, mounts, err := c.sizes(ctx, `node_filesystem_size_bytes{fstype!~"`+virtualFS+`"}`, t)
	if err != nil {
		return nil, err
	}
	datasets, err := c.opts.Query(ctx, `node_filesystem_avail_bytes{fstype="zfs"}`, t)
	if err != nil {
		return nil, err
	}
	// The size of a pool is what its datasets use, and what is left.
	used := make(map[place]float64)
	seen := make(map[place]bool)
	for _, s := range datasets {
		p := placeOf(s.Metric)
		if seen[p] || strings.Contains(p.device, "@") {
			continue
		}
		seen[p] = true
		pool, _, _ := strings.Cut(p.device, "/")
		used[place{p.machine, p.instance, pool}] += size[p] - s.F
	}
	rows := make([]Row, 0, len(c.now))
	for i, s := range c.now {
		p := placeOf(s.Metric)
		r := Row{Kind: KindFilesystem, Machine: whose(s.Metric), Name: cmp.Or(mounts[p], p.device), Device: p.device, Fstype: s.Metric.Get("fstype")}
		total := size[p]
		if pool := s.Metric.Get("pool"); pool != "" {
			r.Kind, r.Name, total = KindPool, pool, used[p]+s.F
		}
		if total > 0 {
			r.Size, r.Used = &total, number(total-s.F)
		}
		c.volumes.fillIn(&r, s, c.lasts[i], c.at)
		rows = append(rows, r)
	}
	return rows, nil
}

// owner names the machine of a series.
type owner func(labels.Labels) string

func (c *Capacity) whose() owner {
	known := func(labels.Labels) string { return "" }
	if c.opts.Whose != nil {
		known = c.opts.Whose()
	}
	return func(ls labels.Labels) string {
		instance := ls.Get("instance")
		if host, _, err := net.SplitHostPort(instance); err == nil {
			instance = host
		}
		return cmp.Or(known(ls), ls.Get("machine"), instance)
	}
}

// fillIn adds the figures of a series to a row.
func (g *grid) fillIn(r *Row, s promql.Sample, f Forecast, t time.Time) {
	_, trends := g.of(s.Metric, make([]float32, 0, len(g.times)), make([]float64, 0, len(g.times)))
	a := func(t trend) *float64 {
		if !t.known {
			return nil
		}
		return number(math.Round(t.growth * day.Seconds()))
	}
	if g := (Growth{a(trends[1]), a(trends[2]), a(trends[3])}); g != (Growth{}) {
		r.Growth = &g
	}
	r.Known = !math.IsNaN(f.Left)
	r.Trend = f.Window
	if f.Left < math.Inf(1) {
		r.Due, r.Earliest, r.Latest = after(t, f.Left), after(t, f.Earliest), after(t, f.Latest)
	}
}

// after is a time in Unix seconds; nil for never.
func after(t time.Time, seconds float64) *float64 {
	if math.IsInf(seconds, 0) {
		return nil
	}
	return number(math.Round(float64(t.UnixMilli())/1e3 + seconds))
}

func number(v float64) *float64 { return &v }

// nodes are the inodes of file systems.
func (c *Capacity) nodes(ctx context.Context, t time.Time, whose owner) ([]Row, error) {
	size, mounts, err := c.sizes(ctx, `node_filesystem_files{fstype!~"btrfs|zfs|`+virtualFS+`"} > 0`, t)
	if err != nil {
		return nil, err
	}
	return c.slow(ctx, t, whose, c.inodes, 0, func(s promql.Sample) Row {
		p := placeOf(s.Metric)
		r := Row{Kind: KindInodes, Name: cmp.Or(mounts[p], p.device), Device: p.device, Fstype: s.Metric.Get("fstype")}
		if n := size[p]; n > 0 {
			r.Size, r.Used = &n, number(n-s.F)
		}
		return r
	})
}

// memories are the memories of machines.
func (c *Capacity) memories(ctx context.Context, t time.Time, whose owner) ([]Row, error) {
	size, _, err := c.sizes(ctx, `node_memory_MemTotal_bytes`, t)
	if err != nil {
		return nil, err
	}
	return c.slow(ctx, t, whose, c.memory, lasting, func(s promql.Sample) Row {
		r := Row{Kind: KindMemory}
		if n := size[placeOf(s.Metric)]; n > 0 {
			r.Size, r.Used = &n, number(n-s.F)
		}
		return r
	})
}

// slow are the rows of a grid that only the page reads.
func (c *Capacity) slow(ctx context.Context, t time.Time, whose owner, g *grid, from int, row func(promql.Sample) Row) ([]Row, error) {
	if err := g.fill(ctx, t); err != nil {
		return nil, err
	}
	now, err := g.query(ctx, t)
	if err != nil {
		return nil, err
	}
	rows := make([]Row, 0, len(now))
	for i, f := range g.forecasts(now, from) {
		r := row(now[i])
		r.Machine = whose(now[i].Metric)
		g.fillIn(&r, now[i], f, t)
		rows = append(rows, r)
	}
	g.prune(len(now))
	return rows, nil
}

// expiring are certificates and keys.
func (c *Capacity) expiring(ctx context.Context, t time.Time, whose owner) ([]Row, error) {
	certificates, err := c.opts.Query(ctx, `min by (check, machine) (probe_ssl_earliest_cert_expiry{check!=""})`, t)
	if err != nil {
		return nil, err
	}
	keys, err := c.opts.Query(ctx, `min by (machine, instance) (clanmon_tailscale_key_expiry_timestamp_seconds)`, t)
	if err != nil {
		return nil, err
	}
	var rows []Row
	for _, s := range certificates {
		rows = append(rows, Row{Kind: KindCertificate, Machine: s.Metric.Get("machine"), Name: s.Metric.Get("check"), Due: number(s.F), Known: true})
	}
	for _, s := range keys {
		rows = append(rows, Row{Kind: KindKey, Machine: whose(s.Metric), Name: "Tailscale", Due: number(s.F), Known: true})
	}
	return rows, nil
}

// row is about a data directory, which is full only if there is no space for its retention.
func (s Storage) row(t time.Time) Row {
	r := Row{Kind: KindStorage, Size: number(s.Used + s.Free), Used: &s.Used, Known: s.Expected > 0}
	if r.Known && s.Expected > s.Used {
		r.Growth = &Growth{Month: number(math.Round(s.Growth))}
	}
	if s.Growth > 0 && s.Expected-s.Used > s.Free {
		r.Due = after(t, s.Free/s.Growth*day.Seconds())
	}
	return r
}
