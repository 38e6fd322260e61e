// Package proc starts the processes that a benchmark measures and reads what
// the kernel accounts to them: /proc and, as root, a memory cgroup of their own.
// It stops them; whatever they leave running is theirs.
package proc

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Stat is what the kernel accounts to a process.
type Stat struct {
	CPU            float64 // seconds, utime+stime
	User, Sys      float64
	RSS, HWM, Anon int64 // bytes
	FDs, Threads   int
}

// Read reads the accounts of a process.
func Read(pid int) (Stat, error) {
	var s Stat
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return s, err
	}
	t := string(b)
	f := strings.Fields(t[strings.LastIndexByte(t, ')')+2:])
	u, _ := strconv.ParseFloat(f[11], 64)
	k, _ := strconv.ParseFloat(f[12], 64)
	s.User, s.Sys, s.CPU = u/100, k/100, (u+k)/100
	b, err = os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return s, err
	}
	for _, l := range strings.Split(string(b), "\n") {
		f := strings.Fields(l)
		if len(f) < 2 {
			continue
		}
		v, _ := strconv.ParseInt(f[1], 10, 64)
		switch f[0] {
		case "VmRSS:":
			s.RSS = v << 10
		case "VmHWM:":
			s.HWM = v << 10
		case "RssAnon:":
			s.Anon = v << 10
		case "Threads:":
			s.Threads = int(v)
		}
	}
	if d, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid)); err == nil {
		s.FDs = len(d)
	}
	return s, nil
}

// Process is a process that runs.
type Process struct {
	Cmd     *exec.Cmd
	Pid     int
	Log     *os.File
	Started time.Time
	done    chan error
	cgroup  string
}

// Start runs a command line, split at spaces, with each {KEY} replaced.
func Start(cmdline string, sub map[string]string, logPath string) (*Process, error) {
	var args []string
	for _, a := range strings.Fields(cmdline) {
		for k, v := range sub {
			a = strings.ReplaceAll(a, "{"+k+"}", v)
		}
		args = append(args, a)
	}
	lf, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	c := exec.Command(args[0], args[1:]...)
	c.Stdout, c.Stderr = lf, lf
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	s := &Process{Cmd: c, Log: lf, Started: time.Now(), done: make(chan error, 1)}
	if err := c.Start(); err != nil {
		return nil, err
	}
	s.Pid = c.Process.Pid
	s.enterCgroup()
	go func() { s.done <- c.Wait(); close(s.done) }()
	return s, nil
}

// enterCgroup gives the process a memory account of its own, where that is
// allowed and there is a memory controller.
func (s *Process) enterCgroup() {
	for _, root := range []string{"/sys/fs/cgroup/memory", "/sys/fs/cgroup"} {
		dir := fmt.Sprintf("%s/clanmon-bench-%d", root, s.Pid)
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		s.cgroup = dir
		// A folder of a tmpfs among the mounts of cgroups has no such file.
		if _, err := s.cgroupMemory(); err == nil && os.WriteFile(dir+"/cgroup.procs", []byte(strconv.Itoa(s.Pid)), 0) == nil {
			return
		}
		_ = os.Remove(dir)
		s.cgroup = ""
	}
}

// CgroupMemory is what the kernel holds for the process in bytes, page cache
// and kernel memory included; 0 if that cannot be told.
func (s *Process) CgroupMemory() int64 {
	n, err := s.cgroupMemory()
	if err != nil {
		return 0
	}
	return n
}

func (s *Process) cgroupMemory() (int64, error) {
	b, err := os.ReadFile(s.cgroup + "/memory.usage_in_bytes") // v1
	if err != nil {
		b, err = os.ReadFile(s.cgroup + "/memory.current")
	}
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
}

// Exited says whether the process has ended.
func (s *Process) Exited() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// Stop sends sig and waits; it returns how long that took.
func (s *Process) Stop(sig syscall.Signal, limit time.Duration) (time.Duration, error) {
	t := time.Now()
	_ = s.Cmd.Process.Signal(sig)
	select {
	case <-s.done:
	case <-time.After(limit):
		_ = s.Cmd.Process.Kill()
		<-s.done
		return time.Since(t), fmt.Errorf("did not stop in %v, killed", limit)
	}
	s.Log.Close()
	if s.cgroup != "" {
		_ = os.Remove(s.cgroup)
	}
	return time.Since(t), nil
}

var hc = &http.Client{Timeout: 2 * time.Second}

// WaitReady polls url until 200 and returns the time since process start.
func (s *Process) WaitReady(ctx context.Context, url string) (time.Duration, error) {
	for {
		if r, err := hc.Get(url); err == nil {
			r.Body.Close()
			if r.StatusCode == 200 {
				return time.Since(s.Started), nil
			}
		}
		if s.Exited() {
			return 0, fmt.Errorf("server exited before ready")
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Pct is the p-quantile of d, 0 if d is empty.
func Pct(d []float64, p float64) float64 {
	if len(d) == 0 {
		return 0
	}
	s := append([]float64(nil), d...)
	sort.Float64s(s)
	i := int(p*float64(len(s)-1) + 0.5)
	return s[i]
}

// MiB turns bytes into MiB.
func MiB(n int64) float64 { return float64(n) / (1 << 20) }
