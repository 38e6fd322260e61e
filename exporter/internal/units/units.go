// Package units knows the units of systemd without asking for each property at
// each scrape.
//
// It lists the units once per Snapshot, asks for the properties of a unit when it
// first sees it, and again only when systemd has signalled that it changed. What
// changes without a signal (counters of sockets, network traffic, tasks) is read
// at each Snapshot, where there is something to count. It keeps one connection,
// and makes another at the next Snapshot when that one ends or another systemd
// answers.
package units

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/clanmon/clanmon/exporter/internal/flagbound"
)

// States are those that upstream's exporters have series for; a unit that is
// reloading or in maintenance is in none.
var States = []string{"active", "activating", "deactivating", "inactive", "failed"}

// Bus is where systemd is asked.
type Bus int

const (
	System  Bus = iota // the system bus, or for root systemd's own socket if there is none
	Private            // systemd's own socket
	User               // the manager of the user, on the session bus
)

const (
	name         = "org.freedesktop.systemd1"
	managerPath  = dbus.ObjectPath("/org/freedesktop/systemd1")
	manager      = name + ".Manager"
	properties   = "org.freedesktop.DBus.Properties"
	privatePath  = "/run/systemd/private"
	unitsPath    = managerPath + "/unit"
	atOneTime    = 8     // units asked for
	mostChanges  = 10000 // units that changed since the last Snapshot, else all did
	connectLimit = 5 * time.Second
)

// lasting are the properties that change with a signal or not at all, by the
// type of a unit; "" has those of all types.
var lasting = map[string][]string{
	"":        {"ActiveEnterTimestamp", "ActiveExitTimestamp", "InactiveEnterTimestamp", "InactiveExitTimestamp"},
	"service": {"Type", "NRestarts", "TasksMax", "ControlGroup", "IPAccounting", "Result"},
	"mount":   {"Type"},
	"timer": {
		"LastTriggerUSec", "LastTriggerUSecMonotonic", "NextElapseUSecRealtime", "NextElapseUSecMonotonic",
		"TimersCalendar", "TimersMonotonic", "AccuracyUSec", "RandomizedDelayUSec", "RandomizedOffsetUSec", "Unit",
	},
	"socket": {"Accept", "NAccepted", "NConnections", "NRefused"},
}

var (
	socketCounters = []string{"NAccepted", "NConnections", "NRefused"}
	ipCounters     = []string{"IPIngressBytes", "IPEgressBytes", "IPIngressPackets", "IPEgressPackets"}
	// howItEnded is of services that ran and do not any more.
	howItEnded = []string{"ExecMainCode", "ExecMainStatus"}
)

// A Unit is one unit of a Snapshot. It is not changed once it was given out.
type Unit struct {
	Name, Type string
	State      string // its ActiveState
	Sub        string // its SubState

	path       dbus.ObjectPath
	properties map[string]any
}

// New returns a unit with these properties, which are as the D-Bus library decodes
// them.
func New(name, state, sub string, properties map[string]any) *Unit {
	return &Unit{Name: name, Type: name[strings.LastIndexByte(name, '.')+1:], State: state, Sub: sub, properties: properties}
}

// Number is a numeric property; false where systemd has not got it.
func (u *Unit) Number(property string) (float64, bool) {
	switch v := u.properties[property].(type) {
	case uint64:
		return float64(v), true
	case uint32:
		return float64(v), true
	case int32:
		return float64(v), true
	}
	return 0, false
}

// Limited is a numeric property in which the largest number means none.
func (u *Unit) Limited(property string) (float64, bool) {
	if u.properties[property] == uint64(math.MaxUint64) {
		return 0, false
	}
	return u.Number(property)
}

// Text is a property that is a string.
func (u *Unit) Text(property string) (string, bool) {
	v, ok := u.properties[property].(string)
	return v, ok
}

// Rows is a property that is an array of structures.
func (u *Unit) Rows(property string) [][]any {
	rows, _ := u.properties[property].([][]any)
	return rows
}

// Is is a property that is true or false, false where there is none.
func (u *Unit) Is(property string) bool { return u.properties[property] == true }

// Filter is upstream's filter of units by name. flag is the name of its two flags,
// without "include" and "exclude" at the end.
func Filter(flag, include, exclude string) (wanted func(unit string) bool, err error) {
	in, err := regexp.Compile("^(?:" + include + ")$")
	if err != nil {
		return nil, fmt.Errorf("--%sinclude: %w", flag, err)
	}
	out, err := regexp.Compile("^(?:" + exclude + ")$")
	if err != nil {
		return nil, fmt.Errorf("--%sexclude: %w", flag, err)
	}
	return func(unit string) bool { return in.MatchString(unit) && !out.MatchString(unit) }, nil
}

// A Snapshot is what systemd said at one time.
type Snapshot struct {
	Units   []*Unit        // those that were wanted, in the order of their names
	States  map[string]int // all units, by their state
	System  string         // what systemd says of all, such as "running" or "degraded"
	Manager map[string]any // properties of the manager
}

// Manager is one systemd. Its methods are safe for concurrent use.
type Manager struct {
	bus     Bus
	cgroups string
	users   int           // who opened it and did not close it; opened's mutex guards it
	turn    chan struct{} // held by who may use what is below

	conn    *dbus.Conn
	changes *changes
	known   map[string]*Unit // by name
	manager map[string]any   // nil if unknown or changed
}

// opened has the systemd of each bus that somebody uses.
var opened = struct {
	sync.Mutex
	by map[Bus]*Manager
}{by: map[Bus]*Manager{}}

// Open returns the systemd of a bus, which all who open it share: what one has
// asked for, the others need not. It connects when it is first asked.
func Open(bus Bus) *Manager {
	opened.Lock()
	defer opened.Unlock()
	m := opened.by[bus]
	if m == nil {
		m = &Manager{bus: bus, cgroups: filepath.Join(cmp.Or(flagbound.Value("path.sysfs"), "/sys"), "fs/cgroup"), turn: make(chan struct{}, 1)}
		opened.by[bus] = m
	}
	m.users++
	return m
}

// Close ends the connection once all who opened it have closed it.
func (m *Manager) Close() error {
	opened.Lock()
	m.users--
	last := m.users == 0
	if last {
		delete(opened.by, m.bus)
	}
	opened.Unlock()
	if !last {
		return nil
	}
	m.turn <- struct{}{}
	defer func() { <-m.turn }()
	m.forget()
	return nil
}

func (m *Manager) forget() {
	if m.conn != nil {
		_ = m.conn.Close()
	}
	m.conn, m.changes, m.known, m.manager = nil, nil, nil, nil
}

// Snapshot asks systemd about those units that are wanted. With an error there may
// still be a Snapshot: of a machine with so many units that there was no time to
// ask for all of them. What is missing follows at the next call.
func (m *Manager) Snapshot(ctx context.Context, wanted func(unit string) bool) (*Snapshot, error) {
	select {
	case m.turn <- struct{}{}:
		defer func() { <-m.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if m.conn != nil && (!m.conn.Connected() || m.changes.another()) {
		m.forget()
	}
	before := m.conn
	s, err := m.snapshot(ctx, wanted)
	if err != nil && s == nil && before != nil && ctx.Err() == nil {
		// The bus may have been started anew in between.
		m.forget()
		s, err = m.snapshot(ctx, wanted)
	}
	if err != nil && s == nil && ctx.Err() == nil {
		m.forget()
	}
	return s, err
}

func (m *Manager) snapshot(ctx context.Context, wanted func(unit string) bool) (*Snapshot, error) {
	if m.conn == nil {
		if err := m.connect(ctx); err != nil {
			return nil, fmt.Errorf("couldn't get dbus connection: %w", err)
		}
	}
	// What changes from here on is for the next time.
	changed, all := m.changes.take()
	if all {
		m.known, m.manager = nil, nil
	}
	maps.DeleteFunc(m.known, func(_ string, u *Unit) bool { _, stale := changed[u.path]; return stale })
	if watchdog, _ := m.manager["WatchdogDevice"].(string); watchdog != "" || m.manager["FinishTimestamp"] == uint64(0) {
		m.manager = nil // is pinged, or still booting
	}
	if m.manager == nil {
		if err := m.conn.Object(name, managerPath).CallWithContext(ctx, properties+".GetAll", 0, manager).Store(&m.manager); err != nil {
			return nil, fmt.Errorf("could not get properties of systemd: %w", err)
		}
	}
	s := &Snapshot{States: map[string]int{}, Manager: m.manager}
	// It changes without a signal.
	if err := m.conn.Object(name, managerPath).CallWithContext(ctx, properties+".Get", 0, manager, "SystemState").Store(&s.System); err != nil {
		return nil, fmt.Errorf("could not get the state of systemd: %w", err)
	}
	listed, err := m.list(ctx)
	if err != nil {
		return nil, err
	}
	current := make(map[string]*Unit, len(listed))
	var ask []*Unit
	for _, l := range listed {
		s.States[l.ActiveState]++
		u := m.known[l.Name]
		if u != nil && (u.State != l.ActiveState || u.Sub != l.SubState || u.path != l.Path) {
			u = nil
		}
		if u != nil {
			current[l.Name] = u // also if only somebody else wants it
		}
		if l.LoadState != "loaded" || !wanted(l.Name) {
			continue
		}
		if u == nil {
			u = New(l.Name, l.ActiveState, l.SubState, nil)
			u.path = l.Path
			ask = append(ask, u)
		}
		s.Units = append(s.Units, u)
	}
	left := m.ask(ctx, ask)
	for _, u := range ask {
		if u.properties != nil {
			current[u.Name] = u
		}
	}
	m.known = current
	for i, u := range s.Units {
		s.Units[i] = m.count(ctx, u)
	}
	slices.SortFunc(s.Units, func(a, b *Unit) int { return strings.Compare(a.Name, b.Name) })
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if left > 0 {
		return s, fmt.Errorf("the scrape timeout is too short for all units: %d of %d are read in the next scrapes", left, len(s.Units))
	}
	return s, nil
}

// listed is a unit as systemd lists it.
type listed struct {
	Name, Description, LoadState, ActiveState, SubState, Following string
	Path                                                           dbus.ObjectPath
	JobID                                                          uint32
	JobType                                                        string
	JobPath                                                        dbus.ObjectPath
}

func (m *Manager) list(ctx context.Context) ([]listed, error) {
	var raw [][]any
	if err := m.conn.Object(name, managerPath).CallWithContext(ctx, manager+".ListUnits", 0).Store(&raw); err != nil {
		return nil, fmt.Errorf("could not get list of systemd units from dbus: %w", err)
	}
	return listOf(raw)
}

// listOf reads what systemd answered.
func listOf(raw [][]any) ([]listed, error) {
	units := make([]listed, len(raw))
	for i, r := range raw {
		u := &units[i]
		if err := dbus.Store(r, &u.Name, &u.Description, &u.LoadState, &u.ActiveState, &u.SubState, &u.Following, &u.Path, &u.JobID, &u.JobType, &u.JobPath); err != nil {
			return nil, fmt.Errorf("systemd's list of units is invalid: %w", err)
		}
	}
	return units, nil
}

// ask gets the lasting properties of units, and returns how many it had no time
// for: part of what ctx leaves is for the rest.
func (m *Manager) ask(ctx context.Context, units []*Unit) (left int) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-time.Until(deadline)/3))
		defer cancel()
	}
	var wg sync.WaitGroup
	queue := make(chan *Unit)
	for range min(atOneTime, len(units)) {
		wg.Go(func() {
			for u := range queue {
				got := map[string]any{}
				m.get(ctx, u, "Unit", lasting[""], got)
				if u.Type == "timer" {
					m.get(ctx, u, "Unit", []string{"ActiveEnterTimestampMonotonic"}, got)
					m.getAll(ctx, u, u.Type, lasting[u.Type], got)
				} else {
					m.get(ctx, u, u.Type, lasting[u.Type], got)
				}
				if u.Type == "service" && got["InactiveEnterTimestamp"] != uint64(0) && (u.State == "inactive" || u.State == "failed") {
					m.get(ctx, u, u.Type, howItEnded, got)
					m.get(ctx, u, "Unit", []string{"StateChangeTimestamp"}, got)
				}
				if ctx.Err() == nil {
					u.properties = got
				}
			}
		})
	}
	for _, u := range units {
		queue <- u
	}
	close(queue)
	wg.Wait()
	for _, u := range units {
		if u.properties == nil {
			left++
		}
	}
	return left
}

// getAll asks for all properties of a small interface at once, and keeps some.
func (m *Manager) getAll(ctx context.Context, u *Unit, kind string, names []string, into map[string]any) {
	var all map[string]dbus.Variant
	if err := m.conn.Object(name, u.path).CallWithContext(ctx, properties+".GetAll", 0, interfaceOf(kind)).Store(&all); err != nil {
		return
	}
	for _, n := range names {
		if v, ok := all[n]; ok {
			into[n] = v.Value()
		}
	}
}

// interfaceOf is the D-Bus interface of a type of units.
func interfaceOf(kind string) string {
	first := min(1, len(kind)) // a name may end with a dot
	return name + "." + strings.ToUpper(kind[:first]) + kind[first:]
}

// get asks for properties one by one: all of a unit are hundreds, some of which
// cost systemd dearly. One that systemd has not got is left out; so are all, if
// the unit has gone meanwhile.
func (m *Manager) get(ctx context.Context, u *Unit, kind string, names []string, into map[string]any) {
	if len(names) == 0 {
		return
	}
	object := m.conn.Object(name, u.path)
	iface := interfaceOf(kind)
	for _, n := range names {
		if ctx.Err() != nil {
			return
		}
		var v dbus.Variant
		if err := object.CallWithContext(ctx, properties+".Get", 0, iface, n).Store(&v); err == nil {
			into[n] = v.Value()
		}
	}
}

// count returns the unit with what changes all the time.
func (m *Manager) count(ctx context.Context, u *Unit) *Unit {
	more := map[string]any{}
	switch u.Type {
	case "socket":
		// Only those that start an instance per connection count them.
		if u.Is("Accept") {
			m.get(ctx, u, u.Type, socketCounters, more)
		}
	case "service":
		if u.Is("IPAccounting") {
			m.get(ctx, u, u.Type, ipCounters, more)
		}
		if group, _ := u.Text("ControlGroup"); group != "" {
			if tasks, ok := m.tasks(group); ok {
				more["TasksCurrent"] = tasks
			} else {
				m.get(ctx, u, u.Type, []string{"TasksCurrent"}, more)
			}
		}
	}
	if len(more) == 0 {
		return u
	}
	counted := *u
	counted.properties = make(map[string]any, len(u.properties)+len(more))
	for _, from := range []map[string]any{u.properties, more} {
		for k, v := range from {
			counted.properties[k] = v
		}
	}
	return &counted
}

// tasks reads from the cgroup what systemd would read from it.
func (m *Manager) tasks(group string) (uint64, bool) {
	for _, hierarchy := range []string{"", "pids"} {
		if text, err := os.ReadFile(filepath.Join(m.cgroups, hierarchy, group, "pids.current")); err == nil {
			n, err := strconv.ParseUint(string(bytes.TrimSpace(text)), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// connect also asks for the signals. Nothing in it can be waited for longer than
// connectLimit.
func (m *Manager) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	life, end := context.WithCancel(context.Background())
	stop := context.AfterFunc(ctx, end)
	defer stop()
	c := &changes{paths: map[dbus.ObjectPath]struct{}{}}
	conn, bus, err := dial(m.bus, dbus.WithContext(life), dbus.WithSignalHandler(c))
	if err != nil {
		end()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return err
	}
	if bus {
		for _, options := range [][]dbus.MatchOption{
			{dbus.WithMatchSender(name), dbus.WithMatchInterface(properties), dbus.WithMatchPathNamespace(unitsPath)},
			{dbus.WithMatchSender(name), dbus.WithMatchInterface(manager), dbus.WithMatchMember("Reloading")},
			{dbus.WithMatchInterface("org.freedesktop.DBus"), dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, name)},
		} {
			if err := conn.AddMatchSignalContext(ctx, options...); err != nil {
				_ = conn.Close()
				return err
			}
		}
	}
	if err := conn.Object(name, managerPath).CallWithContext(ctx, manager+".Subscribe", 0).Err; err != nil {
		_ = conn.Close()
		return fmt.Errorf("subscribe to systemd's signals: %w", err)
	}
	m.conn, m.changes = conn, c
	return nil
}

// dial connects as systemd's own tools do; bus is false on systemd's own socket.
func dial(where Bus, options ...dbus.ConnOption) (conn *dbus.Conn, bus bool, err error) {
	own := []dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Getuid()))}
	open := func(conn *dbus.Conn, err error, hello bool) (*dbus.Conn, error) {
		if err != nil {
			return nil, err
		}
		if err = conn.Auth(own); err == nil && hello {
			err = conn.Hello()
		}
		if err != nil {
			_ = conn.Close()
			return nil, err
		}
		return conn, nil
	}
	switch where {
	case User:
		conn, err = dbus.SessionBusPrivate(options...)
		conn, err = open(conn, err, true)
		return conn, true, err
	case System:
		conn, err = dbus.SystemBusPrivate(options...)
		conn, err = open(conn, err, true)
		if err == nil || os.Geteuid() != 0 {
			return conn, true, err
		}
		busErr := err
		conn, err = dbus.Dial("unix:path="+privatePath, options...)
		if conn, err = open(conn, err, false); err != nil {
			err = busErr
		}
		return conn, false, err
	default:
		conn, err = dbus.Dial("unix:path="+privatePath, options...)
		conn, err = open(conn, err, false)
		return conn, false, err
	}
}

// changes collects what systemd signals. The connection calls it in its own
// goroutine, so that no signal is lost in a queue.
type changes struct {
	mu      sync.Mutex
	paths   map[dbus.ObjectPath]struct{}
	all     bool // every unit may have changed
	reowned bool // another systemd answers to the name
}

// DeliverSignal is the connection's.
func (c *changes) DeliverSignal(_, member string, s *dbus.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch member {
	case "NameOwnerChanged":
		c.reowned = c.reowned || len(s.Body) > 0 && s.Body[0] == name
	case "Reloading":
		c.all = true
	case "PropertiesChanged":
		if c.paths[s.Path] = struct{}{}; len(c.paths) > mostChanges {
			c.all = true
			clear(c.paths)
		}
	}
}

// take returns what changed since it was last called.
func (c *changes) take() (paths map[dbus.ObjectPath]struct{}, all bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	paths, all = c.paths, c.all
	c.paths, c.all = map[dbus.ObjectPath]struct{}{}, false
	return paths, all
}

func (c *changes) another() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reowned
}
