// Package dns finds machines by DNS.
//
// Look-ups are upstream's dns_sd. What is added here is machine_dns_sd_configs,
// which wraps it and says which machine each target is: the target of an SRV, MX
// or NS record, the name in a zone transfer, or the reverse look-up of an
// address; where there is none, the address. And a name that begins with "*." is
// expanded by zone transfer (AXFR, RFC 5936) where a name server of the zone
// permits it; else it is looked up as it is, which is a wildcard record.
//
// While a name server does not answer, what was found before stays. Run ends
// with its context.
package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/discovery"
	upstream "github.com/prometheus/prometheus/discovery/dns"
	"github.com/prometheus/prometheus/discovery/targetgroup"

	"github.com/clanmon/clanmon/discovery/contract"
)

const (
	// Name of the method.
	Name = "dns"
	// mechanism is the name in the configuration file.
	mechanism = "machine_dns"
)

// Labels of targets; all but the last are upstream's.
const (
	nameLabel      = model.LabelName("__meta_dns_name")
	srvTargetLabel = model.LabelName("__meta_dns_srv_record_target")
	mxTargetLabel  = model.LabelName("__meta_dns_mx_record_target")
	nsTargetLabel  = model.LabelName("__meta_dns_ns_record_target")
	machineLabel   = model.LabelName("__meta_dns_machine")
)

func init() { discovery.RegisterConfig(&SDConfig{}) }

// SDConfig is a section of machine_dns_sd_configs. Its fields are those of
// dns_sd_configs.
type SDConfig struct {
	upstream.SDConfig `yaml:",inline"`
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (c *SDConfig) UnmarshalYAML(unmarshal func(any) error) error {
	if err := c.SDConfig.UnmarshalYAML(unmarshal); err != nil {
		return fmt.Errorf("machine_dns_sd_configs: %w", err)
	}
	if c.RefreshInterval <= 0 {
		return errors.New("machine_dns_sd_configs: refresh_interval must be greater than 0")
	}
	return nil
}

// Name implements discovery.Config.
func (*SDConfig) Name() string { return mechanism }

// Describe implements contract.Section.
func (c *SDConfig) Describe() (method, from string) { return Name, strings.Join(c.Names, ", ") }

// metrics are our own and those of the wrapped discovery, whose two counters of
// look-ups cannot be registered twice; those of dns_sd_configs do not contain ours.
type metrics struct {
	*contract.Metrics
	inner discovery.DiscovererMetrics
}

// renamed makes the wrapped discovery measure its refreshes as ours.
type renamed struct {
	discovery.RefreshMetricsInstantiator
}

func (r renamed) Instantiate(_, setName string) *discovery.RefreshMetrics {
	return r.RefreshMetricsInstantiator.Instantiate(mechanism, setName)
}

// NewDiscovererMetrics implements discovery.Config.
func (c *SDConfig) NewDiscovererMetrics(_ prometheus.Registerer, rmi discovery.RefreshMetricsInstantiator) discovery.DiscovererMetrics {
	return metrics{
		&contract.Metrics{Method: Name, Mechanism: mechanism, Refresh: rmi},
		c.SDConfig.NewDiscovererMetrics(prometheus.NewRegistry(), renamed{rmi}),
	}
}

// NewDiscoverer implements discovery.Config.
func (c *SDConfig) NewDiscoverer(o discovery.DiscovererOptions) (discovery.Discoverer, error) {
	m, ok := o.Metrics.(metrics)
	if !ok {
		return nil, fmt.Errorf("machine_dns: discovery metrics are of type %T", o.Metrics)
	}
	if o.Logger == nil {
		o.Logger = promslog.NewNopLogger()
	}
	log := o.Logger
	causes := &causes{log.Handler(), new(cause)}
	o.Metrics, o.Logger = m.inner, slog.New(causes)
	inner, err := upstream.NewDiscovery(c.SDConfig, o)
	if err != nil {
		return nil, err
	}
	_, from := c.Describe()
	return &Discovery{
		config: c.SDConfig, inner: inner, log: log, causes: causes, status: m.Reporter(o.SetName, from),
		expanded: make(map[string][]model.LabelSet),
		transfer: newTransferer(), reverse: newReverser(net.DefaultResolver.LookupAddr),
		refused: make(map[string]string),
	}, nil
}

// Discovery is a running discovery.
type Discovery struct {
	config   upstream.SDConfig
	inner    discovery.Discoverer
	log      *slog.Logger
	transfer *transferer
	reverse  *reverser
	refused  map[string]string           // wildcard name → why it could not be expanded
	expanded map[string][]model.LabelSet // by wildcard name, as found last
	status   *contract.StatusReporter
	causes   *causes
}

// Run implements discovery.Discoverer.
func (d *Discovery) Run(ctx context.Context, up chan<- []*targetgroup.Group) {
	found := make(chan []*targetgroup.Group)
	var wg sync.WaitGroup
	defer d.status.Close()
	defer wg.Wait()
	wg.Go(func() { d.inner.Run(ctx, found) })
	for {
		select {
		case groups := <-found:
			d.status.Outcome(d.log, d.missing(groups))
			var refused []contract.Refused
			for i, g := range groups {
				groups[i] = d.refine(ctx, g, &refused)
			}
			d.status.Refuse(d.log, refused)
			d.reverse.prune(time.Now())
			select {
			case up <- groups:
			case <-ctx.Done():
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// missing is an error if names were not answered for: upstream leaves these out,
// and their targets stay.
func (d *Discovery) missing(groups []*targetgroup.Group) error {
	why := d.causes.get()
	d.causes.set(nil)
	var errs []error
	for _, name := range d.config.Names {
		if slices.ContainsFunc(groups, func(g *targetgroup.Group) bool { return g.Source == name }) {
			continue
		}
		if why == nil {
			why = errors.New("no name server responded")
		}
		errs = append(errs, fmt.Errorf("name %q: %w", name, why))
	}
	return errors.Join(errs...)
}

// causes is a log handler that makes little of what upstream says of every
// look-up that fails, and remembers the last reason.
type causes struct {
	slog.Handler
	last *cause
}

type cause struct {
	mu  sync.Mutex
	err error
}

func (c *causes) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn || c.Handler.Enabled(ctx, level)
}

func (c *causes) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		server := ""
		r.Attrs(func(a slog.Attr) bool {
			switch err, ok := a.Value.Any().(error); {
			case a.Key == "server":
				server = a.Value.String()
			case ok && r.Level == slog.LevelWarn:
				if op, ok := errors.AsType[*net.OpError](err); ok {
					err = op.Err // without the local port, which is another each time
				}
				c.set(fmt.Errorf("name server %s: %w", server, err))
			case ok && c.get() == nil:
				c.set(err)
			}
			return true
		})
		r.Level = slog.LevelDebug
	}
	if !c.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return c.Handler.Handle(ctx, r)
}

func (c *causes) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &causes{c.Handler.WithAttrs(attrs), c.last}
}

func (c *causes) WithGroup(name string) slog.Handler {
	return &causes{c.Handler.WithGroup(name), c.last}
}

func (c *causes) get() error {
	c.last.mu.Lock()
	defer c.last.mu.Unlock()
	return c.last.err
}

func (c *causes) set(err error) {
	c.last.mu.Lock()
	defer c.last.mu.Unlock()
	c.last.err = err
}

// refine gives the targets of one name their machines. Records that cannot be a
// machine are added to refused.
func (d *Discovery) refine(ctx context.Context, g *targetgroup.Group, refused *[]contract.Refused) *targetgroup.Group {
	if strings.HasPrefix(g.Source, "*.") {
		g = d.expand(ctx, g)
	}
	g.Targets = slices.DeleteFunc(g.Targets, nowhere)
	hosts := make([]string, len(g.Targets)) // what the network calls each machine
	var wg sync.WaitGroup
	for i, t := range g.Targets {
		switch {
		case t[machineLabel] != "": // from a zone transfer
			hosts[i] = string(t[machineLabel])
		case t[srvTargetLabel] != "":
			hosts[i] = string(t[srvTargetLabel])
		case t[mxTargetLabel] != "":
			hosts[i] = string(t[mxTargetLabel])
		case t[nsTargetLabel] != "":
			hosts[i] = string(t[nsTargetLabel])
		default:
			host, _, _ := net.SplitHostPort(string(t[model.AddressLabel]))
			wg.Go(func() { hosts[i] = d.reverse.name(ctx, host) })
		}
	}
	wg.Wait()
	usable := g.Targets[:0]
	for i, machine := range distinct(hosts) {
		t := g.Targets[i]
		if why := useless(t, machine, hosts[i]); why != "" {
			*refused = append(*refused, contract.Refused{Entry: fmt.Sprintf("%s in %s", t[model.AddressLabel], g.Source), Reason: why})
			continue
		}
		t[machineLabel] = model.LabelValue(machine)
		t[contract.MetaMethod] = Name
		t[contract.MetaMachine] = model.LabelValue(machine)
		t[contract.MetaFrom] = model.LabelValue(g.Source)
		t[contract.MetaAsk] = "true"
		usable = append(usable, t)
	}
	g.Targets = usable
	return g
}

// useless is why a record cannot be a target, "" if it can.
func useless(t model.LabelSet, machine, host string) string {
	address, port, _ := net.SplitHostPort(string(t[model.AddressLabel]))
	if _, err := contract.ParsePort(port); err != nil {
		return err.Error()
	}
	if err := contract.CheckHost(address); err != nil {
		return err.Error()
	}
	if machine == "" {
		return fmt.Sprintf("name %q has no letter or digit for a machine name", host)
	}
	return ""
}

// nowhere reports whether a target is none: the "." of an SRV or MX record says
// that there is no service (RFC 2782, RFC 7505), and what ends in ".invalid"
// cannot exist (RFC 2606); the server calls its own jobs so.
func nowhere(t model.LabelSet) bool {
	host, _, _ := net.SplitHostPort(string(t[model.AddressLabel]))
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	return host == "" || strings.HasSuffix(host, ".invalid")
}

// distinct makes names for people of host names. Different hosts with the same
// first label keep their whole name, so that none hides the other.
func distinct(hosts []string) []string {
	owners := make(map[string]string, len(hosts)) // short name → host, "" if several
	for _, h := range hosts {
		h = canonical(h)
		short := contract.Short(h)
		if other, ok := owners[short]; ok && other != h {
			owners[short] = ""
		} else {
			owners[short] = h
		}
	}
	names := make([]string, len(hosts))
	for i, h := range hosts {
		h = canonical(h)
		names[i] = contract.Short(h)
		if owners[names[i]] == "" {
			names[i] = contract.Clean(h)
		}
	}
	return names
}

func canonical(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }

// expand replaces what a wildcard was looked up to by the names behind it.
func (d *Discovery) expand(ctx context.Context, literal *targetgroup.Group) *targetgroup.Group {
	name := literal.Source
	targets, err := d.transfer.targets(ctx, name, d.config.Type, d.config.Port)
	if ctx.Err() != nil {
		return literal
	}
	reason := ""
	if err != nil {
		reason = err.Error()
	}
	last, expanded := d.expanded[name]
	stays := err != nil && expanded && !errors.Is(err, errNotPermitted)
	if d.refused[name] != reason {
		d.refused[name] = reason
		if stays {
			d.log.Warn("Zone transfer failed; keeping the previous targets", "name", name, "err", err)
		} else if err != nil {
			d.log.Info("Zone transfer failed; looking up the wildcard record instead. Allow AXFR for this server to find all machines", "name", name, "found", len(literal.Targets), "err", err)
		} else {
			d.log.Info("Zone transfer works again", "name", name)
		}
	}
	switch {
	case stays:
		targets = last
	case err != nil:
		delete(d.expanded, name)
		return literal
	}
	d.expanded[name] = targets
	// refine writes into what it is given
	copied := make([]model.LabelSet, len(targets))
	for i, t := range targets {
		copied[i] = t.Clone()
	}
	return &targetgroup.Group{Source: name, Targets: copied}
}

// reverser looks up names of addresses, and keeps a name while the look-up
// fails: a machine must not change its name because a name server is away.
type reverser struct {
	lookup func(ctx context.Context, address string) ([]string, error)
	slots  chan struct{} // bounds look-ups at one time

	mu    sync.Mutex
	known map[string]reverseAnswer
}

type reverseAnswer struct {
	name string
	at   time.Time
}

// Reverse look-ups are slow where nobody answers them.
const (
	reverseTimeout = 3 * time.Second
	reverseFresh   = 5 * time.Minute
	reverseKept    = 24 * time.Hour // what is still in use is looked up again long before
)

func newReverser(lookup func(context.Context, string) ([]string, error)) *reverser {
	return &reverser{lookup: lookup, slots: make(chan struct{}, 16), known: make(map[string]reverseAnswer)}
}

// name is the host name of an address, or the address.
func (r *reverser) name(ctx context.Context, address string) string {
	r.mu.Lock()
	last, ok := r.known[address]
	r.mu.Unlock()
	if ok && time.Since(last.at) < reverseFresh {
		return last.name
	}
	r.slots <- struct{}{}
	defer func() { <-r.slots }()
	ctx, cancel := context.WithTimeout(ctx, reverseTimeout)
	defer cancel()
	names, err := r.lookup(ctx, address)
	name := address
	switch {
	case err == nil && len(names) > 0 && contract.Short(names[0]) != "":
		name = names[0]
		for _, n := range names[1:] {
			name = min(name, n) // the order of several differs from answer to answer
		}
	case err != nil && !notFound(err) && ok:
		name = last.name
	}
	r.mu.Lock()
	r.known[address] = reverseAnswer{name, time.Now()}
	r.mu.Unlock()
	return name
}

// prune forgets addresses that nobody has asked for since long.
func (r *reverser) prune(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for address, answer := range r.known {
		if now.Sub(answer.at) > reverseKept {
			delete(r.known, address)
		}
	}
}

func notFound(err error) bool {
	e, ok := errors.AsType[*net.DNSError](err)
	return ok && e.IsNotFound
}
