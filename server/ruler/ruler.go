// Package ruler evaluates recording and alerting rules: upstream's
// rules.Manager with one life around it.
//
// It reads through a query function, writes through an appendable and hands
// alerts to a rules.Sender; it knows neither the store nor who delivers. Run
// ends when every rule group has finished its evaluation.
package ruler

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/rules"
)

// Ruler runs rule groups.
type Ruler struct {
	manager     *rules.Manager
	externalURL string
}

// New returns a Ruler that evaluates nothing until Run. o is upstream's own
// options; o.NotifyFunc is set here, to deliver to alerts.
func New(o rules.ManagerOptions, alerts rules.Sender) *Ruler {
	externalURL := o.ExternalURL.String()
	o.NotifyFunc = rules.SendAlerts(alerts, externalURL)
	o.Context = context.Background() // evaluations end by Stop, which waits for them
	return &Ruler{manager: rules.NewManager(&o), externalURL: externalURL}
}

// Manager gives read access to groups and alerts.
func (r *Ruler) Manager() *rules.Manager { return r.manager }

// ApplyConfig loads the rule files that cfg names. When one is broken, the
// groups that run stay as they are.
func (r *Ruler) ApplyConfig(cfg *config.Config) error {
	var files []string
	for _, pattern := range cfg.RuleFiles {
		matches, err := filepath.Glob(pattern)
		if err != nil { // the only error is a bad pattern
			return fmt.Errorf("rule_files: %q: %w", pattern, err)
		}
		files = append(files, matches...)
	}
	return r.manager.Update(time.Duration(cfg.GlobalConfig.EvaluationInterval),
		files, cfg.GlobalConfig.ExternalLabels, r.externalURL, nil)
}

// Run evaluates until ctx ends.
func (r *Ruler) Run(ctx context.Context) error {
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
