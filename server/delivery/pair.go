package delivery

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/alertmanager/cluster"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/notifier"
	"github.com/prometheus/prometheus/rules"
	"go.yaml.in/yaml/v2"
)

// Difference is something in which another server of the cluster differs from this
// one although both need the same, or both notify, or neither does.
type Difference struct {
	Text   string
	Detail string
}

// traits are what the servers of a cluster need to have in common.
type traits struct {
	Labels    string `json:"labels"`    // those that every alert gets
	Rules     string `json:"rules"`     // a hash of the rules
	Receivers string `json:"receivers"` // a hash of routes and receivers
}

// Limits of what is believed of others.
const (
	maxPeers     = 64
	maxTraitSize = 4 << 10
)

// pair compares this server with the others of the cluster. It is a state that
// Alertmanager's gossip carries: each sends its own traits.
type pair struct {
	name      string // of this server
	members   func() []cluster.ClusterMember
	broadcast func([]byte)
	log       *slog.Logger

	mu     sync.Mutex
	own    traits
	others map[string]traits
	said   []Difference
}

// pairKey is what the state is called in the cluster's messages.
const pairKey = "clanmon_traits"

func (p *pair) MarshalBinary() ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return json.Marshal(map[string]traits{p.name: p.own})
}

// Merge takes what another server says of itself.
func (p *pair) Merge(b []byte) error {
	if len(b) > maxTraitSize {
		return fmt.Errorf("%d bytes; at most %d are taken", len(b), maxTraitSize)
	}
	var said map[string]traits
	if err := json.Unmarshal(b, &said); err != nil {
		return err
	}
	p.mu.Lock()
	for name, t := range said {
		if name == p.name || t == (traits{}) { // one that has not read its configuration yet
			continue
		}
		if _, known := p.others[name]; known || len(p.others) < maxPeers {
			p.others[name] = t
		}
	}
	p.mu.Unlock()
	p.tell()
	return nil
}

// set changes what this server says of itself.
func (p *pair) set(t traits) {
	p.mu.Lock()
	changed := p.own != t
	p.own = t
	p.mu.Unlock()
	if !changed {
		return
	}
	if b, err := p.MarshalBinary(); err == nil && len(b) <= maxTraitSize {
		p.broadcast(b)
	}
	p.tell()
}

// differences are those to the servers that are in the cluster now.
func (p *pair) differences() []Difference {
	here := make(map[string]string)
	for _, m := range p.members() {
		here[m.Name()] = m.Address()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.others, func(name string, _ traits) bool { return here[name] == "" })
	var all []Difference
	for _, name := range slices.Sorted(maps.Keys(p.others)) {
		other, address := p.others[name], here[name]
		if other.Labels != p.own.Labels {
			all = append(all, Difference{fmt.Sprintf("Peer %s adds different labels to alerts", address),
				fmt.Sprintf("Here: %s. There: %s. Both servers notify of every alert. Set the same external_labels, and name the server with --replica", p.own.Labels, other.Labels)})
		}
		if other.Rules != p.own.Rules {
			all = append(all, Difference{fmt.Sprintf("Peer %s evaluates different rules", address),
				"An alert that only one server has is not sent while that server is down. Use the same rule files and --rules flags"})
		}
		if other.Receivers != p.own.Receivers {
			all = append(all, Difference{fmt.Sprintf("Peer %s has different routes or receivers", address),
				"Some notifications are sent twice or not at all. Use the same --alertmanager.config.file or --notify flags"})
		}
	}
	return all
}

// tell logs differences that are new.
func (p *pair) tell() {
	now := p.differences()
	p.mu.Lock()
	before := p.said
	p.said = now
	p.mu.Unlock()
	for _, d := range now {
		if !slices.Contains(before, d) {
			p.log.Warn(d.Text, "detail", d.Detail)
		}
	}
}

// Differences are those between this server and the others of its cluster. Safe for
// concurrent use.
func (d *Delivery) Differences() []Difference {
	if d.inside == nil || d.inside.pair == nil {
		return nil
	}
	return d.inside.pair.differences()
}

// compare tells the cluster how this server is configured now.
func (d *Delivery) compare() {
	in := d.inside
	if in.pair == nil {
		return
	}
	in.mu.Lock()
	receivers := in.config.traits()
	in.mu.Unlock()
	t := traits{Labels: d.labelling.Load().everywhere(), Receivers: receivers}
	if d.opts.Rules != nil {
		t.Rules = ruleTraits(d.opts.Rules())
	}
	in.pair.set(t)
}

// everywhere are the labels that every alert gets.
func (l *labelling) everywhere() string {
	probe := &notifier.Alert{Labels: labels.FromStrings(model.AlertNameLabel, "any")}
	set := labelSet(l.external)
	if out := l.convert([]*notifier.Alert{probe}, time.Now()); len(out) == 1 {
		set = out[0].Labels.Clone()
		delete(set, model.AlertNameLabel)
	}
	return cut(set.String())
}

// traits is a hash of what decides who is notified of what, without secrets.
func (b *built) traits() string {
	h := sha256.New()
	for _, part := range []any{b.Route, b.InhibitRules, b.TimeIntervals, b.MuteTimeIntervals} {
		text, err := yaml.Marshal(part)
		if err != nil {
			fmt.Fprint(h, err)
		}
		h.Write(text)
	}
	if b.plan.Digest != "" {
		fmt.Fprint(h, b.plan.Digest, b.plan.At, b.plan.Location())
	}
	for _, name := range sortedKeys(b.receivers) {
		fmt.Fprintf(h, "%q", name)
		for _, i := range b.receivers[name] {
			fmt.Fprintf(h, " %s", i.Name())
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// ruleTraits is a hash of what is evaluated, wherever its files are.
func ruleTraits(groups []*rules.Group) string {
	var all []string
	for _, g := range groups {
		for _, r := range g.Rules() {
			all = append(all, fmt.Sprintf("%s %s %s", g.Name(), g.Interval(), r))
		}
	}
	slices.Sort(all)
	sum := sha256.Sum256([]byte(strings.Join(all, "\n")))
	return hex.EncodeToString(sum[:])
}
