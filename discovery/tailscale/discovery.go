// Package tailscale finds the machines of the tailnet that this machine is part
// of. It asks the local tailscaled over its LocalAPI socket, which any local
// user may read; there is no key and no token, and nothing leaves the machine.
//
// Two things are in it: a service discovery for Prometheus' configuration file,
// tailscale_sd_configs, which sends every device with all that is known of it as
// __meta_tailscale_* labels; and the discovery method of that name, which makes
// scrape configurations with it. It follows tailscaled's notifications and polls
// beside them. While it cannot ask, what was found before stays. Run ends with
// its context and leaves no connection behind.
package tailscale

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"

	"github.com/clanmon/clanmon/discovery/contract"
	"github.com/clanmon/clanmon/internal/tailscaled"
)

// Name of the mechanism and of the method.
const Name = "tailscale"

func init() { discovery.RegisterConfig(&SDConfig{}) }

// SDConfig is a section of tailscale_sd_configs.
type SDConfig struct {
	// Socket of the local tailscaled.
	Socket string `yaml:"socket,omitempty"`
	// Port of the targets.
	Port int `yaml:"port"`
	// RefreshInterval is how often to ask when no notification comes.
	RefreshInterval model.Duration `yaml:"refresh_interval,omitempty"`
	// IntermittentTags mark machines that are not meant to be on all the time, in
	// __meta_clanmon_availability.
	IntermittentTags []string `yaml:"intermittent_tags,omitempty,flow"`
}

// DefaultSDConfig has what a section does not say.
var DefaultSDConfig = SDConfig{Socket: tailscaled.DefaultSocket, Port: 9100, RefreshInterval: model.Duration(time.Minute)}

// UnmarshalYAML implements yaml.Unmarshaler.
func (c *SDConfig) UnmarshalYAML(unmarshal func(any) error) error {
	*c = DefaultSDConfig
	type plain SDConfig
	if err := unmarshal((*plain)(c)); err != nil {
		return err
	}
	if c.Socket == "" {
		return fmt.Errorf("tailscale_sd_configs: socket is empty; remove it to use %s", tailscaled.DefaultSocket)
	}
	if err := contract.CheckPort(c.Port); err != nil {
		return fmt.Errorf("tailscale_sd_configs: %w", err)
	}
	if c.RefreshInterval <= 0 {
		return errors.New("tailscale_sd_configs: refresh_interval must be greater than 0")
	}
	tags, err := ParseTags(c.IntermittentTags)
	if err != nil {
		return fmt.Errorf("tailscale_sd_configs: intermittent_tags: %w", err)
	}
	c.IntermittentTags = tags
	return nil
}

// Describe implements contract.Section.
func (c *SDConfig) Describe() (method, from string) { return Name, c.Socket }

// Name implements discovery.Config.
func (*SDConfig) Name() string { return Name }

// NewDiscovererMetrics implements discovery.Config.
func (*SDConfig) NewDiscovererMetrics(_ prometheus.Registerer, rmi discovery.RefreshMetricsInstantiator) discovery.DiscovererMetrics {
	return &contract.Metrics{Method: Name, Refresh: rmi}
}

// NewDiscoverer implements discovery.Config.
func (c *SDConfig) NewDiscoverer(o discovery.DiscovererOptions) (discovery.Discoverer, error) {
	m, ok := o.Metrics.(*contract.Metrics)
	if !ok {
		return nil, fmt.Errorf("tailscale: discovery metrics are of type %T", o.Metrics)
	}
	log := o.Logger
	if log == nil {
		log = promslog.NewNopLogger()
	}
	return &Discovery{
		config: *c, api: tailscaled.New(c.Socket, "--discovery.tailscale.socket"), log: log,
		status: m.Reporter(o.SetName, c.Socket),
	}, nil
}

// How long to wait between two questions: notifications come in bursts, and a
// tailscaled that is away is not asked more and more often.
const (
	settle     = 500 * time.Millisecond
	minPause   = 3 * time.Second
	minBackoff = time.Second
	maxBackoff = 30 * time.Second
)

// Discovery is a running discovery.
type Discovery struct {
	config SDConfig
	api    *tailscaled.Client
	log    *slog.Logger
	status *contract.StatusReporter
}

// Run implements discovery.Discoverer.
func (d *Discovery) Run(ctx context.Context, up chan<- []*targetgroup.Group) {
	defer d.status.Close()
	changes := make(chan struct{}, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { d.watch(ctx, changes) })

	var last *targetgroup.Group
	backoff := minBackoff
	for {
		pause := time.Duration(d.config.RefreshInterval)
		group, err := d.refresh(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			pause = min(pause, backoff)
			backoff = min(2*backoff, maxBackoff)
		default:
			backoff = minBackoff
			if !reflect.DeepEqual(group, last) {
				select {
				case up <- []*targetgroup.Group{group}:
					last = group
				case <-ctx.Done():
					return
				}
			}
		}
		if !d.wait(ctx, pause, err == nil, changes) {
			return
		}
	}
}

// wait waits until it is time to ask again: after pause, or soon after a change.
// It reports false when ctx has ended.
func (d *Discovery) wait(ctx context.Context, pause time.Duration, well bool, changes <-chan struct{}) bool {
	begin := time.Now()
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-changes:
			rest := settle
			if well {
				rest = max(settle, minPause-time.Since(begin))
			}
			if left := pause - time.Since(begin); rest < left {
				timer.Reset(rest)
			}
		}
	}
}

// watch follows notifications until ctx ends. Without them polling goes on.
func (d *Discovery) watch(ctx context.Context, changes chan<- struct{}) {
	tell := func() {
		select {
		case changes <- struct{}{}:
		default:
		}
	}
	backoff := minBackoff
	for ctx.Err() == nil {
		worked := false
		err := d.api.Watch(ctx, func() {
			worked, backoff = true, minBackoff
			tell()
		})
		if worked {
			tell() // tailscaled may be gone
		}
		if e, ok := errors.AsType[*tailscaled.Error](err); ok && e.Code == http.StatusNotFound {
			d.log.Info("tailscaled sends no notifications; polling only", "interval", d.config.RefreshInterval, "err", err)
			return
		}
		if ctx.Err() == nil {
			d.log.Debug("Could not follow tailscaled's notifications; retrying", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// refresh asks once and says how it went: an error is logged when it appears
// and when it is another one.
func (d *Discovery) refresh(ctx context.Context) (*targetgroup.Group, error) {
	begin := time.Now()
	s, err := d.api.Status(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		d.status.Refreshed(d.log, time.Since(begin), err)
		return nil, err
	}
	group, refused, err := d.group(s)
	d.status.Refreshed(d.log, time.Since(begin), err)
	if err != nil {
		return nil, err
	}
	d.status.Refuse(d.log, refused)
	return group, nil
}

// group makes targets of devices. Those that cannot be used are refused; only a
// broken Self is an error.
func (d *Discovery) group(s *tailscaled.Status) (g *targetgroup.Group, refused []contract.Refused, err error) {
	g = &targetgroup.Group{Source: d.config.Socket}
	suffix, tailnet := s.MagicDNSSuffix, s.MagicDNSSuffix
	if s.CurrentTailnet != nil {
		tailnet = s.CurrentTailnet.Name
		if s.CurrentTailnet.MagicDNSSuffix != "" {
			suffix = s.CurrentTailnet.MagicDNSSuffix
		}
	}
	refuse := func(entry, reason string, args ...any) {
		refused = append(refused, contract.Refused{Entry: valid(entry), Reason: valid(fmt.Sprintf(reason, args...))})
	}
	names := make(map[string]bool, len(s.Peer)+1)
	add := func(key string, text json.RawMessage, self bool) {
		var p tailscaled.Peer
		if err := json.Unmarshal(text, &p); err != nil {
			refuse(cmp.Or(deviceName(&p), key), "its entry in tailscaled's status is invalid: %v", err)
			return
		}
		name := cmp.Or(deviceName(&p), key)
		if len(p.TailscaleIPs) == 0 {
			refuse(name, "it has no address in the tailnet: check that it is approved and its key is valid")
			return
		}
		if p.KeyExpiry.Wrong != "" {
			refuse(name+": key expiry", "%s: ignored; the machine is used", p.KeyExpiry.Wrong)
		}
		l := d.labels(&p, suffix)
		l[meta("tailnet")] = model.LabelValue(tailnet)
		l[meta("user")] = model.LabelValue(login(s, p.UserID))
		l[meta("self")], l[contract.MetaSelf] = contract.Bool(self), contract.Bool(self)
		machine := machineName(&p)
		if names[machine] { // then the names of the network are not to be trusted
			machine = contract.Clean(machine + "-" + p.ID)
		}
		names[machine] = true
		l[meta("machine")], l[contract.MetaMachine] = model.LabelValue(machine), model.LabelValue(machine)
		for name, value := range l {
			l[name] = model.LabelValue(valid(string(value)))
		}
		g.Targets = append(g.Targets, l)
	}
	var self tailscaled.Peer
	if err := json.Unmarshal(s.Self, &self); err != nil {
		return nil, nil, fmt.Errorf("tailscaled at %s: its entry of this machine is invalid: %w", d.config.Socket, err)
	}
	add("Self", s.Self, true)
	for _, key := range slices.Sorted(maps.Keys(s.Peer)) {
		if text := s.Peer[key]; string(text) != "null" {
			add(key, text, false)
		}
	}
	return g, refused, nil
}

func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// login is the name of a user, "" if it is not known.
func login(s *tailscaled.Status, id int64) string {
	var user struct{ LoginName string }
	_ = json.Unmarshal(s.User[strconv.FormatInt(id, 10)], &user)
	return user.LoginName
}

// name is what the network calls the device, for people.
func deviceName(p *tailscaled.Peer) string {
	return cmp.Or(strings.TrimSuffix(p.DNSName, "."), p.HostName, p.ID)
}

// machineName is the first label of the name that the tailnet gave the device,
// which is unique there, unlike the host name.
func machineName(p *tailscaled.Peer) string {
	for _, name := range []string{p.DNSName, p.HostName} {
		if m := contract.Short(name); m != "" {
			return m
		}
	}
	return address(p.TailscaleIPs)
}

// labels are what the device says of itself.
func (d *Discovery) labels(p *tailscaled.Peer, suffix string) model.LabelSet {
	var v4, v6 string
	for _, a := range p.TailscaleIPs {
		switch {
		case a.Is4() && v4 == "":
			v4 = a.String()
		case a.Is6() && v6 == "":
			v6 = a.String()
		}
	}
	name := strings.TrimSuffix(p.DNSName, ".")
	mullvad := strings.HasSuffix(name, ".mullvad.ts.net") || (p.Location != nil && p.ExitNodeOption)
	inside := suffix == "" || name == "" || strings.HasSuffix(name, "."+strings.Trim(suffix, "."))
	shared := p.ShareeNode || p.AltSharerUserID != 0 || (!inside && !mullvad)
	l := contract.Device{
		Name: deviceName(p), Online: p.Online, Direct: p.CurAddr != "", Relay: p.Relay, Expired: p.Expired,
		KeyExpiry: p.KeyExpiry.String(), LastSeen: lastSeen(p),
	}.Labels()
	for name, value := range map[model.LabelName]string{
		model.AddressLabel:   net.JoinHostPort(address(p.TailscaleIPs), strconv.Itoa(d.config.Port)),
		contract.MetaMethod:  Name,
		contract.MetaFrom:    d.config.Socket,
		contract.MetaID:      p.ID,
		contract.MetaTags:    contract.List(contract.Tags(p.Tags)),
		contract.MetaOS:      p.OS,
		contract.MetaAsk:     "true",
		contract.MetaLeftOut: leftOut(p, shared, mullvad),
	} {
		l[name] = model.LabelValue(value)
	}
	if slices.ContainsFunc(p.Tags, func(tag string) bool { return slices.Contains(d.config.IntermittentTags, tag) }) {
		l[contract.MetaAvailability] = contract.Intermittent
	}
	for key, value := range map[string]string{
		"device_name": name, "hostname": p.HostName, "id": p.ID, "os": p.OS, "ipv4": v4, "ipv6": v6,
		"tags": contract.List(p.Tags), "primary_routes": contract.List(p.PrimaryRoutes),
		"endpoint": p.CurAddr, "relay": p.Relay,
	} {
		l[meta(key)] = model.LabelValue(value)
	}
	for key, value := range map[string]bool{
		"online": p.Online, "expired": p.Expired, "exit_node_option": p.ExitNodeOption,
		"shared": shared, "mullvad": mullvad,
	} {
		l[meta(key)] = contract.Bool(value)
	}
	if expiry := p.KeyExpiry.String(); expiry != "" {
		l[meta("key_expiry")] = model.LabelValue(expiry)
	}
	if seen := lastSeen(p); seen != "" {
		l[meta("last_seen")] = model.LabelValue(seen)
	}
	if p.Location != nil {
		l[meta("location_country_code")] = model.LabelValue(p.Location.CountryCode)
		l[meta("location_city_code")] = model.LabelValue(p.Location.CityCode)
	}
	return l
}

// leftOut is why a device runs no exporter that this server could scrape, "" if it may.
func leftOut(p *tailscaled.Peer, shared, mullvad bool) string {
	switch {
	case mullvad:
		return "a Mullvad exit node"
	case shared:
		return "shared in from another tailnet"
	case p.OS != "linux":
		return fmt.Sprintf("its operating system is %q", p.OS)
	}
	return ""
}

// lastSeen is when a device that is offline was last online, "" if that is not known.
func lastSeen(p *tailscaled.Peer) string {
	if p.Online {
		return ""
	}
	return p.LastSeen.String()
}

// address is the IPv4 address, which every Linux can reach, or the IPv6 one where
// the tailnet has no other.
func address(ips []netip.Addr) string {
	for _, a := range ips {
		if a.Is4() {
			return a.String()
		}
	}
	return ips[0].String()
}

func meta(name string) model.LabelName { return contract.Meta("tailscale_", name) }
