package look

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/procfs"

	wire "github.com/clanmon/clanmon/internal/look"
)

const (
	// top is how many processes are shown, by each of CPU, memory and IO.
	top = 30
	// between two samples.
	between = time.Second
	// maxCommand is how much of a command is shown, in bytes.
	maxCommand = 256
	procRoot   = "/proc"
	cgroupRoot = "/sys/fs/cgroup"
)

// sample is what a process and its unit had used at one time.
type sample struct {
	proc    procfs.Proc
	name    string
	started uint64 // tells processes apart that had the same number
	cpu     float64
	memory  uint64
	io      *uint64
}

// processes writes those that use most, in no order, of the units that both own and theirs allow.
func processes(ctx context.Context, w *writer, own, theirs wire.Units) wire.End {
	fs, err := procfs.NewFS(procRoot)
	if err != nil {
		return wire.End{Error: err.Error()}
	}
	before, err := take(fs)
	if err != nil {
		return wire.End{Error: err.Error()}
	}
	u := &unitIO{before: make(map[string]uint64), of: make(map[int]string)}
	for pid, s := range before {
		u.note(pid, s.proc)
	}
	begin := time.Now()
	select {
	case <-time.After(between):
	case <-ctx.Done():
		return wire.End{Reason: wire.EndTime}
	}
	after, err := take(fs)
	if err != nil {
		return wire.End{Error: err.Error()}
	}
	passed := time.Since(begin).Seconds()

	rate := func(from, to uint64) *float64 {
		r := float64(max(to, from)-from) / passed
		return &r
	}
	all := make([]wire.Process, 0, len(after))
	for pid, s := range after {
		b, ok := before[pid]
		if !ok || b.started != s.started {
			continue // too young to have a rate
		}
		group := u.of[pid]
		p := wire.Process{PID: pid, Name: wire.Visible(s.name), Unit: unitOf(group), CPU: (s.cpu - b.cpu) / passed, Memory: s.memory}
		if !own.Allow(p.Unit) || !theirs.Allow(p.Unit) {
			continue
		}
		if b.io != nil && s.io != nil {
			p.IO = rate(*b.io, *s.io)
		}
		if from, ok := u.before[group]; ok {
			if to, ok := readIO(group); ok {
				p.UnitIO = rate(from, to)
			}
		}
		all = append(all, p)
	}
	for _, p := range most(all) {
		if words, err := after[p.PID].proc.CmdLine(); err == nil {
			p.Command = command(words)
		}
		w.write(wire.Message{Process: &p})
	}
	return wire.End{Total: len(all)}
}

// take samples all processes; those that end meanwhile are left out.
func take(fs procfs.FS) (map[int]sample, error) {
	all, err := fs.AllProcs()
	if err != nil {
		return nil, err
	}
	found := make(map[int]sample, len(all))
	for _, p := range all {
		stat, err := p.Stat()
		if err != nil {
			continue
		}
		s := sample{proc: p, name: stat.Comm, started: stat.Starttime, cpu: stat.CPUTime(), memory: uint64(max(0, stat.ResidentMemory()))}
		if io, err := p.IO(); err == nil {
			sum := io.ReadBytes + io.WriteBytes
			s.io = &sum
		}
		found[p.PID] = s
	}
	return found, nil
}

// most are the first of all by CPU, memory and IO.
func most(all []wire.Process) []wire.Process {
	io := func(p wire.Process) float64 {
		if p.IO != nil {
			return *p.IO
		}
		if p.UnitIO != nil {
			return *p.UnitIO
		}
		return 0
	}
	chosen := make(map[int]wire.Process, 3*top)
	for _, compare := range []func(a, b wire.Process) int{
		func(a, b wire.Process) int { return cmp.Compare(b.CPU, a.CPU) },
		func(a, b wire.Process) int { return cmp.Compare(b.Memory, a.Memory) },
		func(a, b wire.Process) int { return cmp.Compare(io(b), io(a)) },
	} {
		slices.SortFunc(all, func(a, b wire.Process) int { return cmp.Or(compare(a, b), a.PID-b.PID) })
		for _, p := range all[:min(top, len(all))] {
			chosen[p.PID] = p
		}
	}
	list := make([]wire.Process, 0, len(chosen))
	for _, p := range all {
		if _, ok := chosen[p.PID]; ok {
			list = append(list, p)
		}
	}
	return list
}

// command is a program and its first argument. What follows may be a password.
func command(words []string) string {
	shown := strings.Join(words[:min(2, len(words))], " ")
	if len(shown) > maxCommand {
		shown = shown[:maxCommand] + "…"
	} else if len(words) > 2 {
		shown += " …"
	}
	return wire.Visible(shown)
}

// unitIO knows the cgroups of processes, and what these had read and written.
type unitIO struct {
	of     map[int]string
	before map[string]uint64
}

func (u *unitIO) note(pid int, p procfs.Proc) {
	groups, err := p.Cgroups()
	if err != nil {
		return
	}
	for _, g := range groups {
		// The unified hierarchy, or that of systemd where there are several.
		if g.HierarchyID != 0 && !slices.Contains(g.Controllers, "name=systemd") || u.of[pid] != "" && g.Path == "/" {
			continue
		}
		u.of[pid] = unitGroup(g.Path)
	}
	group := u.of[pid]
	if _, known := u.before[group]; known || unitOf(group) == "" {
		return
	}
	if sum, ok := readIO(group); ok {
		u.before[group] = sum
	}
}

// unitGroup is the cgroup of the unit that a cgroup is in: down to the first that is not
// a slice.
func unitGroup(path string) string {
	var unit []string
	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		unit = append(unit, part)
		if !strings.HasSuffix(part, ".slice") {
			break
		}
	}
	return "/" + strings.Join(unit, "/")
}

// unitOf is the unit of a cgroup, "" if it is none.
func unitOf(group string) string {
	// systemd puts a _ before what could be mistaken for a file of the kernel.
	unit := strings.TrimPrefix(group[strings.LastIndexByte(group, '/')+1:], "_")
	if r := (wire.Request{Kind: wire.Journal, Lines: 1, Unit: unit}); r.Check() != nil {
		return ""
	}
	return unit
}

// readIO is what a cgroup has read from and written to disks, in bytes.
func readIO(group string) (sum uint64, ok bool) {
	text, err := os.ReadFile(filepath.Join(cgroupRoot, group, "io.stat"))
	if err != nil {
		return 0, false
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		for word := range strings.FieldsSeq(lines.Text()) {
			name, value, _ := strings.Cut(word, "=")
			if name == "rbytes" || name == "wbytes" {
				n, _ := strconv.ParseUint(value, 10, 64)
				sum += n
			}
		}
	}
	return sum, true
}
