package delivery

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
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

	"github.com/clanmon/clanmon/server/internal/envelope"
)

// Difference is something in which another server of the cluster differs from this
// one although both need the same, or both notify, or neither does.
type Difference struct {
	Text   string `json:"text"`
	Detail string `json:"detail"`

	key string // what it is, for it to be logged once
}

// About is what a server says of itself to the others of its cluster.
type About struct {
	Name     string `json:"name"`
	URL      string `json:"url"`
	Version  string `json:"version"`
	Machines int    `json:"machines"`
	// States are those of machines that are not OK; Cut is that there are more. OK has the names
	// of all others, if they fit.
	States map[string]string `json:"states,omitempty"`
	Cut    bool              `json:"cut,omitempty"`
	OK     []string          `json:"ok,omitempty"`

	Hash string `json:"hash"` // of the names of all machines
	Time int64  `json:"time"` // Unix milliseconds
}

// traits are what the servers of a cluster need to have in common, and what each says of
// itself.
type traits struct {
	Labels    string `json:"labels"`    // those that every alert gets
	Rules     string `json:"rules"`     // a hash of the rules
	Receivers string `json:"receivers"` // a hash of routes and receivers
	About     *About `json:"about,omitempty"`
}

// blank is said by a server that has not read its configuration yet.
func (t traits) blank() bool { return t.Labels == "" && t.Rules == "" && t.Receivers == "" }

// Limits of what is believed of others.
const (
	maxPeers     = 64
	maxTraitSize = 4 << 10
)

const (
	// sayEvery is how often a server says something of itself.
	sayEvery = 10 * time.Second
	// maxOffset is how far clocks may differ. Messages may be under way for some seconds
	// on busy machines.
	maxOffset = 10 * time.Second
	// lasting is how long machines differ until that is said: discovery takes its time.
	lasting = time.Minute
)

// pair compares this server with the others of the cluster. It is a state that
// Alertmanager's gossip carries: each sends its own traits.
type pair struct {
	name       string // of this server
	members    func() []cluster.ClusterMember
	configured []string // addresses
	broadcast  func([]byte)
	about      func() About
	log        *slog.Logger

	mu     sync.Mutex
	own    traits
	others map[string]*other
	said   []string
}

// other is another server.
type other struct {
	traits
	address   string
	heard     time.Time
	offsets   []time.Duration // of its clock, as its last messages say
	different time.Time       // since when it has other machines
}

// offset is how far a clock is ahead. A message only makes it smaller, by its own delay.
func (o *other) offset() time.Duration {
	if len(o.offsets) == 0 {
		return 0
	}
	return slices.Max(o.offsets)
}

// label is how pages and logs call a server.
func (o *other) label() string {
	if o.About == nil || o.About.Name == "" {
		return o.address
	}
	return fmt.Sprintf("%s (%s)", o.About.Name, o.address)
}

// pairKey is what the state is called in the cluster's messages.
const pairKey = "clanmon_traits"

// MarshalBinary is what this server says, as much of it as the others take.
func (p *pair) MarshalBinary() ([]byte, error) {
	p.mu.Lock()
	own := p.own
	p.mu.Unlock()
	if p.about != nil {
		a := p.about()
		a.Time = time.Now().UnixMilli()
		own.About = &a
	}
	for {
		b, err := json.Marshal(map[string]traits{p.name: own})
		if err != nil || len(b) <= maxTraitSize || own.About == nil {
			return b, err
		}
		own.About = own.About.shorter()
	}
}

// shorter is less of what a server says of itself; nil if it cannot be less. Problems go last.
func (a *About) shorter() *About {
	if len(a.OK) > 0 {
		a.OK = nil
		return a
	}
	if len(a.States) == 0 {
		return nil
	}
	a.Cut = true
	all := len(a.States)
	maps.DeleteFunc(a.States, func(_, state string) bool { return state == unjudged })
	if len(a.States) < all {
		return a
	}
	names := slices.Sorted(maps.Keys(a.States))
	for _, name := range names[len(names)/2:] {
		delete(a.States, name)
	}
	return a
}

// unjudged is the state of a machine that no rule looks at.
const unjudged = "unjudged"

// Merge takes what another server says of itself.
func (p *pair) Merge(b []byte) error {
	if len(b) > maxTraitSize {
		return fmt.Errorf("%d bytes; at most %d are taken", len(b), maxTraitSize)
	}
	var said map[string]traits
	if err := json.Unmarshal(b, &said); err != nil {
		return err
	}
	now := time.Now()
	p.mu.Lock()
	for name, t := range said {
		if name == p.name || t.blank() {
			continue
		}
		o := p.others[name]
		if o == nil {
			if len(p.others) >= maxPeers {
				continue
			}
			o = &other{}
			p.others[name] = o
		}
		if t.About == nil || o.About == nil || t.About.Time != o.About.Time { // or it was heard before
			o.heard = now
			if t.About != nil {
				o.offsets = append(o.offsets, time.UnixMilli(t.About.Time).Sub(now))
				o.offsets = o.offsets[max(0, len(o.offsets)-4):]
			}
		}
		o.traits = t
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
	if changed {
		p.say()
	}
}

// say sends it to the others.
func (p *pair) say() {
	if b, err := p.MarshalBinary(); err == nil && len(b) <= maxTraitSize {
		p.broadcast(b)
	}
	p.tell()
}

// run repeats it until ctx ends.
func (p *pair) run(ctx context.Context) {
	tick := time.NewTicker(sayEvery)
	defer tick.Stop()
	for {
		p.say()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Peer is another server of the cluster.
type Peer struct {
	About
	Address   string `json:"address"`
	Reachable bool   `json:"reachable"`
	// Heard is when it last said something, RFC 3339; "" for never.
	Heard string `json:"heard,omitempty"`
	// Offset is how many seconds its clock is ahead, as far as is known.
	Offset *float64 `json:"clockOffset,omitempty"`
	// Same is that it has the same machines.
	Same        bool         `json:"sameMachines"`
	Differences []Difference `json:"differences"`
}

// peers are the other servers: those that are there, and those that were or should be.
func (p *pair) peers() []Peer {
	here := make(map[string]string)
	for _, m := range p.members() {
		if m.Name() != p.name {
			here[m.Name()] = m.Address()
		}
	}
	var mine About
	if p.about != nil {
		mine = p.about()
	}
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	addresses := make(map[string]bool)
	for name, address := range here {
		addresses[address] = true
		if o := p.others[name]; o != nil {
			o.address = address
		}
	}
	// One that was restarted has another name.
	maps.DeleteFunc(p.others, func(name string, o *other) bool { return here[name] == "" && (o.address == "" || addresses[o.address]) })
	all := make([]Peer, 0, len(here))
	for name, o := range p.others {
		all = append(all, p.peer(o, mine, here[name] != "", now))
		delete(here, name)
		addresses[o.address] = true
	}
	for _, address := range here {
		all = append(all, Peer{Address: address, Reachable: true, Differences: []Difference{}})
	}
	if len(all) == 0 {
		for _, address := range p.configured {
			all = append(all, Peer{Address: address, Differences: []Difference{unreachable(address, "Not heard since the start of this server")}})
		}
	}
	slices.SortFunc(all, func(a, b Peer) int { return strings.Compare(a.Name+" "+a.Address, b.Name+" "+b.Address) })
	return all
}

func unreachable(label, since string) Difference {
	return Difference{
		fmt.Sprintf("Peer %s is unreachable", label), since + ". If it is running, both servers send every notification",
		"unreachable " + label,
	}
}

func (p *pair) peer(o *other, mine About, reachable bool, now time.Time) Peer {
	x := Peer{Address: o.address, Reachable: reachable, Heard: o.heard.UTC().Format(time.RFC3339), Differences: []Difference{}}
	add := func(key, text, detail string) {
		x.Differences = append(x.Differences, Difference{"Peer " + o.label() + " " + text, detail, key + " " + o.address})
	}
	if !reachable {
		x.Differences = append(x.Differences, unreachable(o.label(), "Last heard: "+x.Heard))
	}
	if p.own.blank() {
		return x
	}
	if o.Labels != p.own.Labels {
		add("labels "+o.Labels+p.own.Labels, "adds different labels to alerts",
			fmt.Sprintf("Here: %s. There: %s. Both servers send every notification. Set the same external_labels, and tell the servers apart with --replica only", p.own.Labels, o.Labels))
	}
	if o.Rules != p.own.Rules {
		add("rules", "evaluates different rules", "An alert that only one server has is not sent while that server is down. Use the same rule files and --rules flags")
	}
	if o.Receivers != p.own.Receivers {
		add("receivers", "has different routes or receivers", "Some notifications are sent twice or not at all. Use the same --alertmanager.config.file or --notify flags")
	}
	if o.About == nil {
		return x
	}
	x.About = *o.About
	if !linkable(x.URL) {
		x.URL = ""
	}
	offset := o.offset()
	seconds := offset.Seconds()
	x.Offset = &seconds
	if offset.Abs() >= maxOffset {
		ahead := "ahead"
		if offset < 0 {
			ahead = "behind"
		}
		add("clock", fmt.Sprintf("has a clock that is %s %s", offset.Abs().Round(time.Second), ahead), "Synchronise the clocks of both servers: samples, alerts and silences have wrong times on one of them")
	}
	if x.Same = o.About.Hash == mine.Hash; x.Same || !reachable {
		o.different = time.Time{}
		return x
	}
	if o.different.IsZero() {
		o.different = now
	}
	if now.Sub(o.different) >= lasting {
		add("machines", "monitors different machines", fmt.Sprintf("Here: %d. There: %d. What only one server monitors is not monitored while that server is down. Use the same discovery flags on both servers", mine.Machines, o.About.Machines))
	}
	return x
}

// linkable reports whether a page may have a link to an address that somebody else said.
func linkable(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil
}

// tell logs differences that are new.
func (p *pair) tell() {
	all := p.peers()
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.said
	p.said = nil
	for _, x := range all {
		for _, d := range x.Differences {
			if p.said = append(p.said, d.key); !slices.Contains(before, d.key) {
				p.log.Warn(d.Text, "detail", d.Detail)
			}
		}
	}
}

// Differences are those between this server and the others of its cluster. Safe for
// concurrent use.
func (d *Delivery) Differences() []Difference {
	var all []Difference
	for _, x := range d.Peers() {
		all = append(all, x.Differences...)
	}
	return all
}

// Peers are the other servers of the cluster. Safe for concurrent use.
func (d *Delivery) Peers() []Peer {
	if d.inside == nil || d.inside.pair == nil {
		return nil
	}
	return d.inside.pair.peers()
}

// PairHandler serves GET /api/clanmon/v1/pair: this server, and the others of its cluster.
func (d *Delivery) PairHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !envelope.Reads(w, r) {
			return
		}
		answer := struct {
			Enabled bool   `json:"enabled"`
			Self    *About `json:"self,omitempty"`
			Peers   []Peer `json:"peers"`
		}{d.inside != nil && d.inside.pair != nil, nil, d.Peers()}
		if answer.Enabled && d.opts.About != nil {
			self := d.opts.About()
			self.OK = nil // which the fleet has
			answer.Self = &self
		}
		if answer.Peers == nil {
			answer.Peers = []Peer{}
		}
		envelope.Success(w, answer)
	})
}

// Named says which machines a server has, in what it says About itself.
func (a *About) Named(states map[string]string) {
	a.Machines, a.States = len(states), make(map[string]string)
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(states)) {
		fmt.Fprintf(h, "%q", name)
		if states[name] == "ok" {
			a.OK = append(a.OK, name)
		} else {
			a.States[name] = states[name]
		}
	}
	a.Hash = hex.EncodeToString(h.Sum(nil)[:8])
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
