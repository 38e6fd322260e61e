package systemd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clanmon/clanmon/exporter/collector"
)

// mostUnits bounds the units whose resources are exposed, in the order of their
// paths: a machine may have any number of scopes.
const mostUnits = 2000

var (
	unitLabels = []string{"name", "type"}
	cpuDesc    = prometheus.NewDesc("systemd_unit_cpu_seconds_total", "Unit CPU time in seconds", append(unitLabels, "mode"), nil)
	memoryDesc = prometheus.NewDesc("systemd_unit_memory_bytes", "Memory of the unit's cgroup: current and peak, and the anonymous and file (page cache) parts of current.", append(unitLabels, "kind"), nil)
	ioDesc     = prometheus.NewDesc("systemd_unit_io_bytes_total", "Bytes read from and written to block devices by the unit's cgroup.", append(unitLabels, "mode"), nil)
	oomDesc    = prometheus.NewDesc("systemd_unit_oom_kills_total", "Processes of the unit's cgroup that the OOM killer killed.", unitLabels, nil)
	stallDesc  = prometheus.NewDesc("systemd_unit_pressure_waiting_seconds_total", "Time in which some task of the unit's cgroup waited for the resource.", append(unitLabels, "resource"), nil)
	// Upstream's name and labels; it has them for services.
	tasksDesc = prometheus.NewDesc("systemd_unit_tasks_current", "Current number of tasks per Systemd unit", []string{"name"}, nil)
)

// resources reads what units use from their cgroups: of the unified hierarchy
// (v2), and of the v1 hierarchies for what a controller has there. It asks
// systemd nothing. A unit of a user's own manager is part of user@UID.service, but
// for containers, which users run too.
type resources struct {
	root     string // where the cgroup hierarchies are mounted
	proc     string
	docker   string // where Docker keeps what it knows of containers
	wanted   func(unit string) bool
	user     string            // whose own units these are, by number; "" for those of the machine
	all      bool              // also of what has done nothing so far, and of what does nothing now
	readable map[string]string // names of containers by their scope
	buffer   []byte            // for one file after another
}

// newResources returns a collector of those units that wanted is true for. The paths
// are where the machine's file systems are, as node_exporter's flags name them.
func newResources(wanted func(string) bool, sysfs, procfs, rootfs string) *resources {
	return &resources{
		root: filepath.Join(sysfs, "fs/cgroup"), proc: procfs, docker: filepath.Join(rootfs, "var/lib/docker/containers"),
		wanted: wanted, readable: map[string]string{}, buffer: make([]byte, 16<<10),
	}
}

// group is the cgroup of a unit.
type group struct {
	unit string // the name as systemd has it
	kind string // service, scope, slice, ...
	path string // below the root of a hierarchy
}

// unitTypes are those that have cgroups; only slices, and the managers of users, have
// other units in them.
var unitTypes = []string{"service", "scope", "slice", "socket", "mount", "swap"}

func (r *resources) Collect(ctx context.Context, ch chan<- prometheus.Metric) error {
	units := r.unitRoot()
	if units == "" {
		return collector.ErrNoData
	}
	unified := r.exists(filepath.Join(units, "cgroup.controllers"))
	groups, failed := r.groups(ctx, units)
	seen := map[string]bool{}
	known := map[string]string{}
	for _, g := range groups {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		name := r.name(units, g, known)
		if seen[name] {
			continue
		}
		seen[name] = true
		r.collect(ch, name, g, units, unified)
	}
	r.readable = known
	if failed != nil {
		return failed
	}
	if len(groups) == mostUnits {
		return fmt.Errorf("more than %d units have cgroups: resources of the others are left out; exclude units with --systemd.collector.unit-exclude", mostUnits-1)
	}
	return nil
}

func (r *resources) Close() error { return nil }

// unitRoot is the hierarchy in which systemd has its units, "" if there is none.
func (r *resources) unitRoot() string {
	for _, dir := range []string{r.root, filepath.Join(r.root, "unified"), filepath.Join(r.root, "systemd")} {
		if r.exists(filepath.Join(dir, "system.slice")) {
			return dir
		}
	}
	return ""
}

func (r *resources) exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// groups are the wanted units below dir, in the order of their paths. A directory
// that cannot be read costs what is below it, and is the error.
func (r *resources) groups(ctx context.Context, dir string) ([]group, error) {
	var found []group
	var failed error
	var walk func(path string, ofUser bool)
	walk = func(path string, ofUser bool) {
		entries, err := os.ReadDir(filepath.Join(dir, path))
		if err != nil {
			// One that is not there was stopped meanwhile.
			if (path == "" || !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ENODEV)) && failed == nil {
				failed = err
			}
			return
		}
		for _, e := range entries {
			if !e.IsDir() || len(found) == mostUnits || ctx.Err() != nil {
				continue
			}
			// systemd puts a _ before what could be mistaken for a file of the kernel.
			unit := strings.TrimPrefix(e.Name(), "_")
			kind := unit[strings.LastIndex(unit, ".")+1:]
			if !slices.Contains(unitTypes, kind) {
				continue
			}
			g := group{unit, kind, filepath.Join(path, e.Name())}
			// Nothing runs in what has exited, and in most mounts and sockets: more than
			// half of a machine's units, whose figures stand still.
			if running, ok := field(r.read(filepath.Join(dir, g.path, "cgroup.events")), "populated"); ok && running == 0 && !r.all {
				continue
			}
			if r.wanted(unit) && (!ofUser || r.user != "" || containerScope.MatchString(unit)) {
				found = append(found, g)
			}
			if manager := strings.HasPrefix(unit, "user@"); kind == "slice" || manager {
				walk(g.path, ofUser || manager)
			}
		}
	}
	if r.user != "" {
		walk(fmt.Sprintf("user.slice/user-%[1]s.slice/user@%[1]s.service", r.user), true)
	} else {
		walk("", false)
	}
	return found, failed
}

func (r *resources) collect(ch chan<- prometheus.Metric, name string, g group, units string, unified bool) {
	send := func(desc *prometheus.Desc, t prometheus.ValueType, value float64, labels ...string) {
		if m, err := prometheus.NewConstMetric(desc, t, value, labels...); err == nil {
			ch <- m
		}
	}
	v2 := func(file string) []byte {
		if !unified {
			return nil
		}
		return r.read(filepath.Join(units, g.path, file))
	}
	v1 := func(controller, file string) []byte {
		if units == r.root {
			return nil
		}
		return r.read(filepath.Join(r.root, controller, g.path, file))
	}
	cpu := func(mode string, seconds float64, ok bool) {
		if ok {
			send(cpuDesc, prometheus.CounterValue, seconds, name, g.kind, mode)
		}
	}
	if stat := v2("cpu.stat"); stat != nil {
		user, ok := field(stat, "user_usec")
		cpu("user", user/1e6, ok)
		system, ok := field(stat, "system_usec")
		cpu("system", system/1e6, ok)
	} else if stat := v1("cpuacct", "cpuacct.stat"); stat != nil {
		user, ok := field(stat, "user")
		cpu("user", user/userHZ, ok)
		system, ok := field(stat, "system")
		cpu("system", system/userHZ, ok)
	}

	memory := func(kind string, bytes float64, ok bool) {
		if ok {
			send(memoryDesc, prometheus.GaugeValue, bytes, name, g.kind, kind)
		}
	}
	anon, file, peak, events := "anon", "file", v2, v2
	peakFile, eventsFile := "memory.peak", "memory.events"
	current, ok := number(v2("memory.current"))
	stat := "memory.stat"
	read := v2
	if !ok {
		inMemory := func(file string) []byte { return v1("memory", file) }
		current, ok = number(inMemory("memory.usage_in_bytes"))
		anon, file, read, peak, events = "total_rss", "total_cache", inMemory, inMemory, inMemory
		peakFile, eventsFile = "memory.max_usage_in_bytes", "memory.oom_control"
	}
	if ok {
		memory("current", current, true)
		value, ok := number(peak(peakFile)) // since Linux 5.19 in v2
		memory("peak", value, ok)
		text := read(stat)
		value, ok = field(text, anon)
		memory("anon", value, ok)
		value, ok = field(text, file)
		memory("file", value, ok)
		if kills, ok := field(events(eventsFile), "oom_kill"); ok {
			send(oomDesc, prometheus.CounterValue, kills, name, g.kind)
		}
	}

	if rd, wr, ok := ioBytes(v2("io.stat")); ok {
		send(ioDesc, prometheus.CounterValue, rd, name, g.kind, "read")
		send(ioDesc, prometheus.CounterValue, wr, name, g.kind, "write")
	} else if rd, wr, ok := blkioBytes(v1("blkio", "blkio.throttle.io_service_bytes_recursive")); ok {
		send(ioDesc, prometheus.CounterValue, rd, name, g.kind, "read")
		send(ioDesc, prometheus.CounterValue, wr, name, g.kind, "write")
	}

	if g.kind != "service" {
		tasks, ok := number(v2("pids.current"))
		if !ok {
			tasks, ok = number(v1("pids", "pids.current"))
		}
		if ok {
			send(tasksDesc, prometheus.GaugeValue, tasks, name)
		}
	}
	for _, resource := range []string{"cpu", "memory", "io"} {
		if waited, ok := pressure(v2(resource + ".pressure")); ok && (r.all || waited > 0) {
			send(stallDesc, prometheus.CounterValue, waited, name, g.kind, resource)
		}
	}
}

// userHZ is the unit of cpuacct.stat, the same on all of Linux' architectures
// that Go knows.
const userHZ = 100

// read returns what a file holds, nil if it cannot be read. The bytes are good
// until the next call. There are some ten files per unit, so this opens them
// without what os.File adds.
func (r *resources) read(path string) []byte {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer syscall.Close(fd)
	n := 0
	for n < len(r.buffer) {
		m, err := syscall.Read(fd, r.buffer[n:])
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return nil // such as the pressure of a kernel that does not account it
		}
		if m == 0 {
			break
		}
		n += m
	}
	return r.buffer[:n]
}

// number is what a file with one number says.
func number(text []byte) (float64, bool) {
	if text == nil {
		return 0, false
	}
	v, err := strconv.ParseUint(string(bytes.TrimSpace(text)), 10, 64)
	return float64(v), err == nil
}

// field is the number after a word at the beginning of a line.
func field(text []byte, word string) (float64, bool) {
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte(word)); ok && len(rest) > 0 && rest[0] == ' ' {
			return number(rest)
		}
	}
	return 0, false
}

// ioBytes sums io.stat over the devices: "8:0 rbytes=1 wbytes=2 rios=...".
func ioBytes(text []byte) (rd, wr float64, ok bool) {
	for word := range bytes.FieldsSeq(text) {
		if v, is := bytes.CutPrefix(word, []byte("rbytes=")); is {
			n, _ := number(v)
			rd, ok = rd+n, true
		} else if v, is := bytes.CutPrefix(word, []byte("wbytes=")); is {
			n, _ := number(v)
			wr, ok = wr+n, true
		}
	}
	return rd, wr, ok
}

// blkioBytes sums blkio.throttle.io_service_bytes_recursive: "8:0 Read 1".
func blkioBytes(text []byte) (rd, wr float64, ok bool) {
	for line := range bytes.Lines(text) {
		words := bytes.Fields(line)
		if len(words) != 3 {
			continue
		}
		n, is := number(words[2])
		switch {
		case is && string(words[1]) == "Read":
			rd, ok = rd+n, true
		case is && string(words[1]) == "Write":
			wr, ok = wr+n, true
		}
	}
	return rd, wr, ok
}

// pressure is the total of "some", in seconds.
func pressure(text []byte) (float64, bool) {
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte("some ")); ok {
			if _, total, ok := bytes.Cut(rest, []byte("total=")); ok {
				usec, ok := number(total)
				return usec / 1e6, ok
			}
		}
	}
	return 0, false
}

// containerScope is how container managers call the scopes of theirs.
var containerScope = regexp.MustCompile(`^(docker|libpod|crio|cri-containerd)-([0-9a-f]{64})\.scope$`)

// name is what a unit is called in the label: a container's scope, which is named
// after a number that is new each time, after the container. known gets the names
// of containers for the next scrape.
func (r *resources) name(units string, g group, known map[string]string) string {
	m := containerScope.FindStringSubmatch(g.unit)
	if m == nil {
		return strings.ToValidUTF8(g.unit, "\uFFFD")
	}
	name, ok := r.readable[g.unit]
	if !ok {
		// Its monitor may only be on the way: who has no name yet is asked again.
		if name, ok = r.containerName(units, g, m[1], m[2]); !ok {
			return name
		}
	}
	known[g.unit] = name
	return name
}

// containerName is the label of a container, by its number if it has no name that
// we may read.
func (r *resources) containerName(units string, g group, runtime, id string) (label string, named bool) {
	name := id[:12]
	switch runtime {
	case "libpod":
		runtime = "podman"
		// The name is an argument of the container's monitor, which everybody may read.
		monitor := filepath.Join(units, filepath.Dir(g.path), "libpod-conmon-"+id+".scope", "cgroup.procs")
		for pid := range strings.FieldsSeq(string(r.read(monitor))) {
			args := strings.Split(string(r.read(filepath.Join(r.proc, pid, "cmdline"))), "\x00")
			if i := slices.Index(args, "-n"); i >= 0 && i+1 < len(args) {
				name, named = args[i+1], true
				break
			}
		}
	case "docker":
		// For root only.
		var config struct{ Name string }
		text, err := os.ReadFile(filepath.Join(r.docker, id, "config.v2.json"))
		if err == nil && json.Unmarshal(text, &config) == nil && config.Name != "" {
			name, named = strings.TrimPrefix(config.Name, "/"), true
		}
	}
	return strings.ToValidUTF8(runtime+"-"+name+".scope", "\uFFFD"), named
}
