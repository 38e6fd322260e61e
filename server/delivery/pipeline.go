package delivery

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/eventrecorder"
	"github.com/prometheus/alertmanager/inhibit"
	"github.com/prometheus/alertmanager/labelset"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/timeinterval"
)

// pipeline is what one configuration makes: a reload stops it and starts another. Its
// zero value, with an empty book, stands for none.
type pipeline struct {
	inhibitor  *inhibit.Inhibitor
	rules      []*inhibit.InhibitRule // those of inhibitor
	dispatcher *dispatch.Dispatcher
	config     *built
	stages     notify.Stage // what a notification passes
	book       receiverBook
}

// load reads the configuration and builds what can fail.
func (in *inside) load() (*built, error) {
	c, err := in.opts.config()
	if err != nil {
		return nil, err
	}
	text, err := shippedInhibitions(in.shipped)
	if err != nil {
		return nil, err
	}
	if text != nil {
		more, err := parseConfig(append([]byte("route: {receiver: x}\nreceivers: [{name: x}]\n"), text...))
		if err != nil {
			return nil, fmt.Errorf("inhibition rules of the built-in rules: %w", err)
		}
		c.InhibitRules = append(c.InhibitRules, more.InhibitRules...)
	}
	c.secrets = secretsLate
	b, err := c.build(in.opts, in.log)
	if err != nil && in.opts.ConfigFile != "" {
		err = fmt.Errorf("%s: %w", in.opts.ConfigFile, err)
	}
	return b, err
}

// firstLoad is load before anything is opened.
func (in *inside) firstLoad() (err error) {
	o := in.opts
	if o.ConfigFile != "" && (len(o.Notify) > 0 || o.HeartbeatURL != "" || o.HeartbeatURLFile != "") {
		return fmt.Errorf("--notify cannot be combined with --alertmanager.config.file; add the receivers to %s", o.ConfigFile)
	}
	for _, n := range o.Notify {
		if n.Pasted() {
			in.log.Warn("The URL of --notify is a secret, and every user of this machine can read it on the command line; put it into a file: webhook://?url_file=FILE", "notify", n)
		}
	}
	if in.config, err = in.load(); err != nil {
		return err
	}
	if p := in.config.plan; len(o.Notify) == 0 && o.ConfigFile == "" && (len(p.Quiet) > 0 || p.Digest != "") {
		in.log.Warn("Quiet hours and digests reach nobody: there is no --notify, so alerts and digests are only logged")
	}
	in.noteMissing(in.config, nil)
	in.metrics.loaded()
	return nil
}

// reload reads the configuration again; shipped are the names of the alerts in
// the binary that are evaluated. On an error everything stays as it is.
func (in *inside) reload(shipped []string) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	before := in.shipped
	in.shipped = shipped
	b, err := in.load()
	if err != nil {
		in.shipped = before
		in.metrics.reloaded.Set(0)
		return err
	}
	for _, w := range b.warnings() {
		in.log.Warn("Questionable configuration", "file", in.opts.ConfigFile, "warning", w)
	}
	in.metrics.loaded()
	if in.running && in.opts.ConfigFile == "" && slices.Equal(before, shipped) && b.plan.Equal(in.config.plan) {
		return nil // nothing can have changed, and groups need not wait anew
	}
	in.noteMissing(b, in.config)
	in.config = b
	if in.running {
		in.restartPipeline()
	} else {
		in.update()
	}
	return nil
}

// update tells the API of the configuration, if it is made. The lock mu is held.
func (in *inside) update() {
	if in.api == nil {
		return
	}
	in.api.Update(in.config.Config.Config, func(ctx context.Context, labels labelset.LabelSet) {
		if i := in.pipeline.Load().inhibitor; i != nil {
			i.Mutes(ctx, labels)
		}
		in.silencer.Mutes(ctx, labels)
	})
}

// startPipeline makes and runs what in.config says. The lock mu is held.
func (in *inside) startPipeline() {
	var recorder eventrecorder.Recorder
	b := in.config
	p := &pipeline{config: b, book: newReceiverBook(b, in.pipeline.Load().book)}
	routes := dispatch.NewRoute(b.Route, nil)
	used := in.integrations(routes, p.book)
	in.metrics.inhibitions.Set(float64(len(b.InhibitRules)))

	wait := func() time.Duration { return 0 }
	var peer notify.Peer
	if in.peer != nil {
		peer = in.peer
		wait = func() time.Duration { return time.Duration(in.peer.Position()) * in.opts.Cluster.PeerTimeout }
	}
	timeout := func(d time.Duration) time.Duration { return max(d, notify.MinTimeout) + wait() }

	p.inhibitor = inhibit.NewInhibitor(in.alerts, b.InhibitRules, in.log, recorder)
	for _, r := range b.InhibitRules {
		p.rules = append(p.rules, inhibit.NewInhibitRule(r))
	}
	intervener := timeinterval.NewIntervener(b.intervals())
	stages := in.pipelines.New(used, wait, p.inhibitor, in.silencer, intervener, in.nflog, peer)
	if in.peer != nil {
		leaveOutEnded(stages, used, in.nflog, wait)
	}
	p.stages = stages
	p.dispatcher = dispatch.NewDispatcher(in.alerts, routes, p.stages, intervener, timeout, dispatchMaintenance, nil, in.log, recorder, in.dispatch, b.tmpl)
	// The inhibitor first, or an alert that it mutes might slip through.
	go p.inhibitor.Run()
	p.inhibitor.WaitForLoading()
	go p.dispatcher.Run(in.born.Add(in.opts.DispatchStartDelay))
	p.dispatcher.WaitForLoading()
	in.pipeline.Store(p)
	in.update()
}

// integrations are those of the receivers that routes name.
func (in *inside) integrations(routes *dispatch.Route, book receiverBook) map[string][]notify.Integration {
	used := make(map[string][]notify.Integration)
	routes.Walk(func(r *dispatch.Route) {
		used[r.RouteOpts.Receiver] = book.integrations(r.RouteOpts.Receiver)
		if r.RouteOpts.RepeatInterval > in.opts.Retention {
			in.log.Warn("repeat_interval is greater than the data retention period. It can lead to notifications being repeated more often than expected.",
				"route", r.Key(), "repeat_interval", r.RouteOpts.RepeatInterval, "kept", in.opts.Retention)
		}
	})
	count := 0
	for _, list := range used {
		count += len(list)
	}
	in.metrics.receivers.Set(float64(len(used)))
	in.metrics.integrations.Set(float64(count))
	return used
}

func (b *built) intervals() map[string][]timeinterval.TimeInterval {
	all := make(map[string][]timeinterval.TimeInterval)
	for _, ti := range b.MuteTimeIntervals {
		all[ti.Name] = ti.TimeIntervals
	}
	for _, ti := range b.TimeIntervals {
		all[ti.Name] = ti.TimeIntervals
	}
	return all
}

func (p *pipeline) stop() {
	if p.dispatcher == nil {
		return
	}
	p.inhibitor.Stop()
	p.dispatcher.Stop()
}

// restartPipeline makes in.config take effect. The lock mu is held.
func (in *inside) restartPipeline() {
	in.pipeline.Load().stop()
	in.startPipeline()
}
