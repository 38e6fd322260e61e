package ruler

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/rules"
)

// Observed is what this process knows and no query can tell. Some of the built-in
// rules need it; elsewhere, as rules of "clanmon rules", they are evaluated as
// their expressions say.
type Observed struct {
	// Stored is when a sample was last stored that no rule made, the zero time if
	// none was.
	Stored func() time.Time
	// Machines are those that targets of this server belong to, by the label
	// machine.
	Machines func() map[string]bool
	// FullIn is how long it takes until volumes are full, in seconds; nil to evaluate the
	// rule's expression instead.
	FullIn func(ctx context.Context, t time.Time) (promql.Vector, error)
	// Traffic has the values of a rule of the group clanmon-traffic; nil as FullIn.
	Traffic func(ctx context.Context, record string, t time.Time) (promql.Vector, error)
}

// fullIn is the record of Observed.FullIn.
const fullIn = "volume:full_in:seconds"

// traffic is how the records of Observed.Traffic begin.
const traffic = "machine:traffic_"

// freshFor is how long a stored sample shows that samples arrive: as long as
// queries look back.
const freshFor = 5 * time.Minute

// query narrows the results of built-in rules to what is observed, or replaces them.
func (r *Ruler) query(next rules.QueryFunc, o Observed) rules.QueryFunc {
	return func(ctx context.Context, qs string, t time.Time) (promql.Vector, error) {
		switch name := rules.FromOriginContext(ctx).Name; {
		case name == fullIn && o.FullIn != nil && r.inForce(name):
			return o.FullIn(ctx, t)
		case strings.HasPrefix(name, traffic) && o.Traffic != nil && r.inForce(name):
			return o.Traffic(ctx, name, t)
		}
		v, err := next(ctx, qs, t)
		if err != nil || len(v) == 0 {
			return v, err
		}
		switch name := rules.FromOriginContext(ctx).Name; name {
		case "Watchdog", "NoFreshSamples":
			fresh := t.Sub(o.Stored()) < freshFor
			if r.inForce(name) && fresh != (name == "Watchdog") {
				return nil, nil
			}
		case "machine:scraped":
			if !r.inForce(name) {
				break
			}
			own := o.Machines()
			v = slices.DeleteFunc(v, func(s promql.Sample) bool { return !own[s.Metric.Get("machine")] })
		}
		return v, nil
	}
}

// inForce reports whether the rule of a name is the one in the binary.
func (r *Ruler) inForce(name string) bool {
	now := r.ruled.Load()
	return now.on && !now.taken[name]
}
