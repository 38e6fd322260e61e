// Package ruler evaluates recording and alerting rules: upstream's
// rules.Manager with one life around it, and the rules that are shipped in the
// binary (rules/*.yml, with their tests beside them).
//
// It reads through a query function, writes through an appendable and hands
// alerts to a rules.Sender; it knows neither the store nor who delivers. Run
// ends when every rule group has finished its evaluation.
package ruler

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
)

// Ruler runs rule groups.
type Ruler struct {
	manager     *rules.Manager
	externalURL string // in templates, whose texts are sent to people: without a password
	loader      *loader
	shipped     *Shipped
	own         atomic.Pointer[map[string]bool] // names of the shipped alerts in force
	ruled       atomic.Pointer[inForce]
	ran         atomic.Bool
}

// New returns a Ruler that evaluates nothing until Run. o is upstream's own
// options; o.NotifyFunc and o.GroupLoader are set here. shipped are the rules
// that ApplyConfig may add to those of the configuration; they read seen too.
func New(o rules.ManagerOptions, shipped *Shipped, alerts rules.Sender, seen Observed) *Ruler {
	sender := o.ExternalURL.String()
	public := *o.ExternalURL
	public.User = nil
	o.ExternalURL = &public
	r := &Ruler{externalURL: public.String(), shipped: shipped}
	r.own.Store(&map[string]bool{})
	r.ruled.Store(&inForce{})
	r.loader = &loader{parser: o.Parser, scheme: o.NameValidationScheme, log: o.Logger}
	o.GroupLoader = r.loader
	o.QueryFunc = r.query(o.QueryFunc, seen)
	o.NotifyFunc = rules.SendAlerts(alerts, sender)
	o.Context = context.Background() // evaluations end by Stop, which waits for them
	r.manager = rules.NewManager(&o)
	return r
}

// Manager gives read access to groups and alerts.
func (r *Ruler) Manager() *rules.Manager { return r.manager }

// IsShipped tells whether the rule of an alert of this name comes from the
// binary. Safe for concurrent use.
func (r *Ruler) IsShipped(alertname string) bool { return (*r.own.Load())[alertname] }

// ShippedAlerts are the names of the shipped alerts in force, sorted.
func (r *Ruler) ShippedAlerts() []string { return slices.Sorted(maps.Keys(*r.own.Load())) }

// ApplyConfig loads the rule files that cfg names, and the shipped rules if
// withShipped; of two rules with one name that of a file wins. When a file is
// broken, the groups that run stay as they are.
func (r *Ruler) ApplyConfig(cfg *config.Config, withShipped bool) error {
	var files []string
	for _, pattern := range cfg.RuleFiles {
		matches, err := filepath.Glob(pattern)
		if err != nil { // the only error is a bad pattern
			return fmt.Errorf("rule_files: %q: %w", pattern, err)
		}
		files = append(files, matches...)
	}
	taken := r.loader.read(files)
	own := make(map[string]bool)
	if withShipped {
		shipped := r.shipped.Without(taken)
		for _, f := range shipped.files {
			r.loader.parsed[f] = parsed{groups: shipped.byID[f]}
			files = append(files, f)
		}
		for _, name := range shipped.Alerts() {
			own[name] = true
		}
	}
	err := r.manager.Update(time.Duration(cfg.GlobalConfig.EvaluationInterval),
		files, cfg.GlobalConfig.ExternalLabels, r.externalURL, nil)
	if err == nil {
		r.own.Store(&own)
		r.ruled.Store(&inForce{on: withShipped, taken: taken})
	}
	return err
}

// Close ends the groups that ApplyConfig loaded, for a Ruler that is not going to Run.
func (r *Ruler) Close() error {
	if r.ran.Load() {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return r.Run(ctx) // upstream can only stop groups that it has started
}

// Run evaluates until ctx ends. It may be called once.
func (r *Ruler) Run(ctx context.Context) error {
	r.ran.Store(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.manager.Run()
	}()
	<-ctx.Done()
	r.manager.Stop()
	<-done
	return nil
}

// loader is the rules.GroupLoader of a Ruler. The names in files decide which
// shipped rules there are, so all of them are read before upstream asks.
type loader struct {
	parser parser.Parser
	scheme model.ValidationScheme
	log    *slog.Logger
	parsed map[string]parsed // by what upstream calls the identifier
}

type parsed struct {
	groups *rulefmt.RuleGroups
	errs   []error
}

// read reads files and returns the names of all rules in them.
func (l *loader) read(files []string) (taken map[string]bool) {
	l.parsed = make(map[string]parsed)
	taken = make(map[string]bool)
	for _, f := range files {
		groups, errs := rulefmt.ParseFile(f, false, l.scheme, l.parser, l.log)
		l.parsed[f] = parsed{groups, errs}
		if len(errs) > 0 {
			continue
		}
		for _, g := range groups.Groups {
			for _, rule := range g.Rules {
				taken[rule.Alert], taken[rule.Record] = true, true
			}
		}
	}
	return taken
}

func (l *loader) Load(identifier string, _ bool, _ model.ValidationScheme) (*rulefmt.RuleGroups, []error) {
	p := l.parsed[identifier]
	return p.groups, p.errs
}

func (l *loader) Parse(query string) (parser.Expr, error) { return l.parser.ParseExpr(query) }
