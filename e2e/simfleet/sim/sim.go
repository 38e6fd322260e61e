// Package sim is a fleet of machines that do not exist. A machine is a function
// of the seed, its number and the time: counters are integrals of their rates and
// gauges swing around what is usual, so nothing is remembered and a fleet that is
// started again goes on where it was.
//
// Serve blocks until its context ends and leaves nothing behind.
package sim

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fleet is N machines.
type Fleet struct {
	Machines []*Machine

	byAddress map[string]*Machine
}

// Machine is one of them.
type Machine struct {
	Name         string
	Address      string // in 127.0.0.0/8
	Tags         []string
	Intermittent bool
	// Wrong are its troubles, of Troubles, from the beginning on.
	Wrong []string

	mu      sync.Mutex
	changed map[string]*change // troubles that Control changed

	role   role
	os     distribution
	seed   uint64
	cpus   int
	memory float64 // bytes
	booted float64 // Unix seconds
}

// change is a trouble that came or went while the fleet was running.
type change struct {
	on      bool
	since   float64 // Unix seconds
	seconds float64 // how long it was on before
}

// Trouble is something that can be wrong with a machine.
type Trouble struct {
	Name      string
	PerMille  int  // of how many of a thousand
	Unhealthy bool // its exporter does not answer
}

// Troubles are all that there are. In a fleet of 42 or more each is there at least
// once, but for those that are rare.
var Troubles = []Trouble{
	{"down", 4, true},
	{"flapping", 2, true}, // five minutes there, five minutes away
	{"systemd exporter down", 2, true},
	{"unit failed", 15, false},
	{"unit crash-looping", 4, false},
	{"unit stuck starting", 2, false},
	{"timer overdue", 4, false},
	{"disk almost full", 8, false},
	{"disk full", 2, false},
	{"disk filling", 4, false},
	{"read-only", 1, false},
	{"inodes", 2, false},
	{"memory", 4, false},
	{"io stall", 4, false},
	{"hot", 2, false},
	{"clock", 2, false},
	{"network errors", 3, false},
	{"oom", 3, false},
	{"reboot needed", 30, false},
	{"busy", 40, false},
	{"raid degraded", 1, false},
	{"collector failing", 2, false},
	{"textfile error", 2, false},
	{"pool full", 1, false},
	{"no systemd", 2, false}, // as in a container
}

// rare are troubles that most machines cannot have, and small fleets need not.
var rare = []string{"raid degraded", "pool full"}

type role struct {
	name   string
	share  int // of a hundred
	tags   []string
	units  []string // beside those that all machines have
	cpus   int
	memory float64 // GiB
	disks  []string
	load   float64 // usual part of the CPUs
}

var roles = []role{
	{"web", 30, []string{"web"}, []string{"nginx", "app-frontend", "app-api", "php8.2-fpm"}, 4, 8, []string{"/"}, .25},
	{"app", 20, []string{"app"}, []string{"app-api", "app-worker@1", "app-worker@2", "podman"}, 8, 16, []string{"/", "/var"}, .4},
	{"db", 10, []string{"db"}, []string{"postgresql", "pgbouncer", "wal-archive"}, 16, 64, []string{"/", "/var/lib/postgresql"}, .3},
	{"cache", 8, []string{"cache"}, []string{"redis", "haproxy"}, 4, 32, []string{"/"}, .15},
	{"build", 7, []string{"ci"}, []string{"runner@1", "runner@2", "podman"}, 32, 128, []string{"/", "/nix"}, .6},
	{"store", 5, []string{"storage"}, []string{"minio", "smbd", "nfs-server"}, 8, 32, []string{"/", "/srv/pool"}, .2},
	{"edge", 10, []string{"edge"}, []string{"wireguard", "haproxy", "unbound"}, 2, 2, []string{"/"}, .1},
	{"desk", 10, []string{"laptop"}, []string{"NetworkManager", "gdm", "cups"}, 8, 16, []string{"/", "/home"}, .1},
}

type distribution struct{ id, pretty, kernel string }

var distributions = []distribution{
	{"nixos", "NixOS 25.11 (Xantusia)", "6.12.58"},
	{"nixos", "NixOS 25.05 (Warbler)", "6.12.41"},
	{"debian", "Debian GNU/Linux 12 (bookworm)", "6.1.0-40-amd64"},
	{"debian", "Debian GNU/Linux 13 (trixie)", "6.12.48+deb13-amd64"},
	{"ubuntu", "Ubuntu 24.04.3 LTS", "6.8.0-87-generic"},
}

var sites = []string{"fra", "hel", "ams", "par"}

// maxMachines is how many addresses there are between 127.1.0.1 and 127.254.254.254.
const maxMachines = 60000

// New makes n machines.
func New(n int, seed uint64) (*Fleet, error) {
	if n < 1 || n > maxMachines {
		return nil, fmt.Errorf("%d machines: there can be 1 to %d", n, maxMachines)
	}
	f := &Fleet{byAddress: make(map[string]*Machine, n)}
	for i := range n {
		m := newMachine(i, seed)
		switch {
		case !m.Intermittent:
			for _, t := range Troubles {
				if m.chance("trouble "+t.Name) < float64(t.PerMille)/1000 {
					m.Wrong = append(m.Wrong, t.Name)
				}
			}
		case m.chance("off") < .5: // as laptops are; nothing is wrong with that
			m.Wrong = []string{"down"}
		}
		f.Machines = append(f.Machines, m)
		f.byAddress[m.Address] = m
	}
	if n >= 2*spreadOver {
		f.spread()
	}
	return f, nil
}

// spreadOver is how many troubles there were at first: a machine keeps what it has
// when there are more.
const spreadOver = 21

// spread gives each trouble to a machine that has none, all over the fleet.
func (f *Fleet) spread() {
	for k, t := range Troubles {
		if slices.Contains(rare, t.Name) {
			continue
		}
		for i := range f.Machines {
			m := f.Machines[(k*len(f.Machines)/spreadOver+i)%len(f.Machines)]
			if len(m.Wrong) == 0 && !m.Intermittent {
				m.Wrong = []string{t.Name}
				break
			}
		}
	}
}

func newMachine(i int, seed uint64) *Machine {
	m := &Machine{
		Address: fmt.Sprintf("127.%d.%d.%d", 1+i/254/254, i/254%254, 1+i%254),
		seed:    hash(seed, fmt.Sprint("machine ", i)),
	}
	pick := int(m.chance("role") * 100)
	for _, m.role = range roles {
		if pick -= m.role.share; pick < 0 {
			break
		}
	}
	m.os = distributions[int(m.chance("os")*float64(len(distributions)))]
	site := sites[int(m.chance("site")*float64(len(sites)))]
	m.Name = fmt.Sprintf("%s-%s-%03d", m.role.name, site, i+1)
	m.Tags = append([]string{site, m.os.id}, m.role.tags...)
	m.Intermittent = m.role.name == "desk"
	if m.chance("production") < .7 && !m.Intermittent {
		m.Tags = append(m.Tags, "production")
	}
	m.cpus, m.memory = m.role.cpus, m.role.memory*(1<<30)
	// A date that does not depend on when the fleet was started.
	m.booted = 1_760_000_000 + m.chance("booted")*1_500_000
	return m
}

// has reports whether the machine has a trouble now.
func (m *Machine) has(trouble string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.changed[trouble]; c != nil {
		return c.on
	}
	return slices.Contains(m.Wrong, trouble)
}

// had is for how many seconds since its boot the machine has had a trouble, by
// which counters go on where they were when one comes or goes.
func (m *Machine) had(trouble string, now float64) float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.changed[trouble]
	switch {
	case c == nil && slices.Contains(m.Wrong, trouble):
		return now - m.booted
	case c == nil:
		return 0
	case c.on:
		return c.seconds + now - c.since
	}
	return c.seconds
}

// bootTime is when the machine was booted last.
func (m *Machine) bootTime() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.booted
}

// Control gives the machine a trouble, or takes it away; "rebooted" is none of
// them, it lets all counters begin anew.
func (m *Machine) Control(trouble string, on bool, at time.Time) error {
	now := float64(at.UnixMilli()) / 1000
	if trouble == "rebooted" {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.booted = now - 20
		for _, c := range m.changed {
			c.since, c.seconds = m.booted, 0
		}
		return nil
	}
	if !slices.ContainsFunc(Troubles, func(t Trouble) bool { return t.Name == trouble }) {
		return fmt.Errorf("no trouble is called %q; there are: %s, and rebooted", trouble, strings.Join(troubleNames(), ", "))
	}
	seconds := m.had(trouble, now)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.changed == nil {
		m.changed = make(map[string]*change)
	}
	m.changed[trouble] = &change{on: on, since: now, seconds: seconds}
	return nil
}

func troubleNames() []string {
	var all []string
	for _, t := range Troubles {
		all = append(all, t.Name)
	}
	return all
}

// away reports whether an exporter does not answer at this time.
func (m *Machine) away(now time.Time, systemd bool) bool {
	return m.has("down") || m.has("flapping") && now.Unix()/300%2 == 0 || systemd && m.has("systemd exporter down")
}

// chance is a number in [0, 1) that depends on the machine and what it is for.
func (m *Machine) chance(what string) float64 { return fraction(hash(m.seed, what)) }

func hash(seed uint64, what string) uint64 {
	h := fnv.New64a()
	_ = binary.Write(h, binary.LittleEndian, seed)
	_, _ = io.WriteString(h, what)
	x := h.Sum64() // the last letters stir only its low bits
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

func fraction(x uint64) float64 { return float64(x>>11) / (1 << 53) }

// WriteInventory writes the machines in the form of --discovery.inventory.
func (f *Fleet) WriteInventory(file string, port int) error {
	type entry struct {
		Addresses    []string       `json:"addresses"`
		Tags         []string       `json:"tags"`
		Availability string         `json:"availability"`
		Exporters    map[string]int `json:"exporters"`
	}
	machines := make(map[string]entry, len(f.Machines))
	for _, m := range f.Machines {
		e := entry{[]string{m.Address}, m.Tags, "always", map[string]int{"node": port, "systemd": port + 1}}
		if m.Intermittent {
			e.Availability = "intermittent"
		}
		machines[m.Name] = e
	}
	text, err := json.MarshalIndent(map[string]any{"machines": machines}, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// Serve answers for all machines until ctx ends: with node's metrics on port and
// systemd's on the next.
func (f *Fleet) Serve(ctx context.Context, port int) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	errs := make(chan error, 2)
	for i, systemd := range []bool{false, true} {
		l, err := net.Listen("tcp4", fmt.Sprintf(":%d", port+i))
		if err != nil {
			return err
		}
		s := &http.Server{Handler: f.Handler(systemd), ReadHeaderTimeout: 10 * time.Second}
		wg.Go(func() { errs <- s.Serve(l) })
		defer s.Close()
	}
	select {
	case err := <-errs:
		return err
	case <-ctx.Done():
		return nil
	}
}

// Handler answers /metrics for the machine whose address the client called.
// At any address it answers /ctl too: what is wrong with which machine, and with
// m=MACHINE and w=TROUBLE it gives the machine that trouble, or with off=1 takes it
// away.
func (f *Fleet) Handler(systemd bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ctl" {
			f.control(w, r)
			return
		}
		local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		host, _, err := net.SplitHostPort(fmt.Sprint(local))
		m := f.byAddress[host]
		switch {
		case err != nil || m == nil:
			http.Error(w, fmt.Sprintf("no machine has the address %q", host), http.StatusNotFound)
		case m.away(time.Now(), systemd):
			panic(http.ErrAbortHandler) // a connection that breaks
		case r.URL.Path != "/metrics":
			http.NotFound(w, r)
		default:
			w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
			_, _ = w.Write(m.Metrics(time.Now(), systemd))
		}
	})
}

func (f *Fleet) control(w http.ResponseWriter, r *http.Request) {
	name, trouble := r.FormValue("m"), r.FormValue("w")
	if name != "" || trouble != "" {
		i := slices.IndexFunc(f.Machines, func(m *Machine) bool { return m.Name == name })
		if i < 0 {
			http.Error(w, fmt.Sprintf("no machine is called %q", name), http.StatusNotFound)
			return
		}
		if err := f.Machines[i].Control(trouble, r.FormValue("off") == "", time.Now()); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	for _, m := range f.Machines {
		var wrong []string
		for _, t := range Troubles {
			if m.has(t.Name) {
				wrong = append(wrong, t.Name)
			}
		}
		if len(wrong) > 0 {
			fmt.Fprintf(w, "%s %s: %s\n", m.Name, m.Address, strings.Join(wrong, ", "))
		}
	}
}

// page is an exposition that is being written.
type page struct {
	m    *Machine
	now  float64 // Unix seconds
	boot float64 // when the machine was booted
	out  []byte
	last string // metric whose type has been said
}

// put writes a sample; labels are pairs of name and value.
func (p *page) put(kind, name string, value float64, labels ...string) {
	if name != p.last {
		p.out = append(p.out, "# HELP "+name+" Of a simulated machine.\n# TYPE "+name+" "+kind+"\n"...)
		p.last = name
	}
	p.out = append(p.out, name...)
	for i := 0; i < len(labels); i += 2 {
		p.out = append(p.out, "{,"[min(i, 1)])
		p.out = append(append(append(p.out, labels[i]...), '='), '"')
		p.out = append(append(p.out, labels[i+1]...), '"') // none has anything to escape
	}
	if len(labels) > 0 {
		p.out = append(p.out, '}')
	}
	p.out = append(strconv.AppendFloat(append(p.out, ' '), value, 'g', -1, 64), '\n')
}

func (p *page) gauge(name string, value float64, labels ...string) {
	p.put("gauge", name, value, labels...)
}

// counter has risen by rate (per second) since the machine started; the rate
// swings by half with the hour and the day.
func (p *page) counter(name string, rate float64, labels ...string) {
	p.put("counter", name, p.total(rate, name+strings.Join(labels, " ")), labels...)
}

const day = 86400.

// total is the integral of rate·(1 + swings) since the machine started.
func (p *page) total(rate float64, what string) float64 {
	phase := 2 * math.Pi * p.m.chance(what)
	swing := func(period, height float64) float64 {
		at := func(t float64) float64 { return -height * period / (2 * math.Pi) * math.Cos(2*math.Pi*t/period+phase) }
		return at(p.now) - at(p.boot)
	}
	return rate * (p.now - p.boot + swing(day, .3) + swing(3000, .15) + swing(170, .05))
}

// around swings between usual·(1±height), with a period of hours and a jitter.
func (p *page) around(usual, height float64, what string) float64 {
	phase := 2 * math.Pi * p.m.chance(what)
	jitter := fraction(hash(p.m.seed, fmt.Sprint(what, int64(p.now/15)))) - .5
	return usual * (1 + height*(.5*math.Sin(2*math.Pi*p.now/day+phase)+.3*math.Sin(2*math.Pi*p.now/4000+phase)+.4*jitter))
}
