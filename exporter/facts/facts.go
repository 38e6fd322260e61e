// Package facts exposes what users ask of a machine beside its figures: whether it
// runs what was installed last, whether it waits for a reboot, when its Tailscale
// key expires, and which disks reported errors. It reads files, and asks the local
// tailscaled where there is one; it needs no rights. What a machine has not got
// has no metric and is no error.
package facts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/clanmon/clanmon/exporter/collector"
)

var (
	generationDesc = desc("nixos_generation", "Number of the NixOS generation that is active (current), that was booted, and that boots next (newest).", "which")
	kernelDesc     = desc("nixos_kernel_current", "Whether the booted kernel is the installed one. 0 means that a reboot is required.")
	activatedDesc  = desc("nixos_system_activated_timestamp_seconds", "When the active generation was installed; a reboot does not change it.")
	systemDesc     = desc("nixos_system_info", "The active NixOS system, always 1: its version, the revision of its configuration (if the system says it), and the kernel that it boots.", "version", "revision", "kernel")
	rebootDesc     = desc("reboot_required", "Whether a reboot is required (Debian and similar systems).")
	tailnetDesc    = desc("tailscale_up", "Whether tailscaled is connected to its tailnet.")
	expiryDesc     = desc("tailscale_key_expiry_timestamp_seconds", "When the node key of the machine expires.")
	warningsDesc   = desc("tailscale_health_messages", "Number of health warnings of tailscaled.")
	peersDesc      = desc("tailscale_active_peers", "Number of peers with traffic, by path (direct or relay).", "path")
	diskErrorsDesc = desc("disk_io_errors_total", "Commands that a SCSI or SATA disk completed with an error.", "device")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("clanmon_"+name, help, labels, nil)
}

const (
	tailscaled = "/run/tailscale/tailscaled.sock"
	patience   = time.Second      // with tailscaled
	fresh      = 60 * time.Second // how long its answer is good for: of a large tailnet it is large
	mostStatus = 64 << 20         // bytes of an answer
)

// Options say what to look at, as node_exporter's flags do.
type Options struct {
	Root  string                   // below which the machine's files are, "/" if they are there
	Sysfs string                   // where sysfs is
	Disk  func(device string) bool // whether a disk is looked at, nil for none
}

type facts struct {
	Options
	kernel func() string

	mu    sync.Mutex
	asked time.Time
	tail  []prometheus.Metric
}

// New returns the collector.
func New(o Options) collector.Collector { return &facts{Options: o, kernel: release} }

// release is that of the running kernel, as uname -r has it.
func release() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

func (f *facts) Collect(ctx context.Context, ch chan<- prometheus.Metric) error {
	f.nixos(ch)
	f.reboot(ch)
	f.disks(ch)
	return f.tailscale(ctx, ch)
}

func (f *facts) Close() error { return nil }

func (f *facts) path(p string) string { return filepath.Join(f.Root, p) }

func gauge(ch chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

const profiles = "nix/var/nix/profiles"

func (f *facts) nixos(ch chan<- prometheus.Metric) {
	current, err := os.Readlink(f.path("run/current-system"))
	if err != nil || !strings.HasPrefix(current, "/nix/store/") {
		return
	}
	booted, _ := os.Readlink(f.path("run/booted-system"))
	// The profile is a link to one of the generations, which are links to systems.
	newest, _ := os.Readlink(f.path(profiles + "/system"))
	installed, err := os.Readlink(f.path(profiles + "/" + filepath.Base(newest)))
	if err != nil {
		installed = current
	}
	if n, ok := generation(newest); ok {
		gauge(ch, generationDesc, n, "newest")
	}
	activated := f.path("run/current-system")
	links, _ := filepath.Glob(f.path(profiles + "/system-*-link"))
	highest := map[string]float64{}
	for _, link := range links {
		n, ok := generation(link)
		system, err := os.Readlink(link)
		if ok && err == nil && n > highest[system] {
			highest[system] = n
			if system == current {
				activated = link
			}
		}
	}
	for which, system := range map[string]string{"current": current, "booted": booted} {
		if n := highest[system]; n > 0 {
			gauge(ch, generationDesc, n, which)
		}
	}
	if info, err := os.Lstat(activated); err == nil {
		gauge(ch, activatedDesc, float64(info.ModTime().Unix()))
	}
	ch <- prometheus.MustNewConstMetric(systemDesc, prometheus.GaugeValue, 1, f.system(current)...)
	same, known := true, false
	for _, part := range []string{"kernel", "kernel-modules"} {
		is, err := os.Readlink(f.path(filepath.Join(booted, part)))
		want, wantErr := os.Readlink(f.path(filepath.Join(installed, part)))
		if err == nil && wantErr == nil {
			same, known = same && is == want, true
		}
	}
	if known {
		gauge(ch, kernelDesc, number(same))
	}
}

// revision is where the script nixos-version has the revision of the configuration.
var revision = regexp.MustCompile(`"configurationRevision":"([0-9a-zA-Z-]{1,80})"`)

// system is the version, the revision and the kernel of a system, each "" if it does not say it.
func (f *facts) system(system string) []string {
	read := func(path string) string {
		file, err := os.Open(f.path(path))
		if err != nil {
			return ""
		}
		defer file.Close()
		text, _ := io.ReadAll(io.LimitReader(file, 64<<10))
		return strings.ToValidUTF8(strings.TrimSpace(string(text)), "")
	}
	info := []string{read(filepath.Join(system, "nixos-version")), "", ""}
	script := f.follow(filepath.Join(f.follow(filepath.Join(system, "sw")), "bin/nixos-version"))
	if found := revision.FindStringSubmatch(read(script)); found != nil {
		info[1] = found[1]
	}
	modules, _ := os.ReadDir(f.path(filepath.Join(f.follow(filepath.Join(system, "kernel-modules")), "lib/modules")))
	if len(modules) == 1 {
		info[2] = modules[0].Name()
	}
	return info
}

// follow is what a link says, or the path itself if it is none. Links in the store are absolute,
// also where the machine's files are elsewhere.
func (f *facts) follow(path string) string {
	to, err := os.Readlink(f.path(path))
	switch {
	case err != nil:
		return path
	case filepath.IsAbs(to):
		return to
	}
	return filepath.Join(filepath.Dir(path), to)
}

// generation is the number in system-NUMBER-link.
func generation(link string) (float64, bool) {
	text, ok := strings.CutPrefix(filepath.Base(link), "system-")
	text, end := strings.CutSuffix(text, "-link")
	n, err := strconv.ParseUint(text, 10, 32)
	return float64(n), ok && end && err == nil
}

// reboot says what Debian's update tools say, and whether a newer kernel than the
// running one would be booted.
func (f *facts) reboot(ch chan<- prometheus.Metric) {
	if _, err := os.Stat(f.path("etc/debian_version")); err != nil {
		return
	}
	_, err := os.Stat(f.path("run/reboot-required"))
	required := err == nil
	for _, link := range []string{"vmlinuz", "boot/vmlinuz"} {
		if to, err := os.Readlink(f.path(link)); err == nil {
			installed, ok := strings.CutPrefix(filepath.Base(to), "vmlinuz-")
			required = required || ok && installed != f.kernel()
			break
		}
	}
	gauge(ch, rebootDesc, number(required))
}

func (f *facts) disks(ch chan<- prometheus.Metric) {
	if f.Disk == nil {
		return
	}
	devices, _ := os.ReadDir(filepath.Join(f.Sysfs, "block"))
	for _, d := range devices {
		if !strings.HasPrefix(d.Name(), "sd") || !f.Disk(d.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(f.Sysfs, "block", d.Name(), "device/ioerr_cnt"))
		if err != nil {
			continue
		}
		if n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 0, 64); err == nil {
			ch <- prometheus.MustNewConstMetric(diskErrorsDesc, prometheus.CounterValue, float64(n), d.Name())
		}
	}
}

// status is what is read of tailscaled's.
type status struct {
	BackendState string
	Health       []string
	Self         struct{ KeyExpiry *time.Time }
	Peer         map[string]struct {
		CurAddr string
		Active  bool
	}
}

func (f *facts) tailscale(ctx context.Context, ch chan<- prometheus.Metric) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.asked) > fresh {
		s, err := f.ask(ctx)
		if err != nil || s == nil {
			f.tail = nil
			return err
		}
		found := make(chan prometheus.Metric, 8)
		gauge(found, tailnetDesc, number(s.BackendState == "Running"))
		gauge(found, warningsDesc, float64(len(s.Health)))
		if s.Self.KeyExpiry != nil && !s.Self.KeyExpiry.IsZero() {
			gauge(found, expiryDesc, float64(s.Self.KeyExpiry.Unix()))
		}
		paths := map[string]float64{"direct": 0, "relay": 0}
		for _, p := range s.Peer {
			switch {
			case p.Active && p.CurAddr != "":
				paths["direct"]++
			case p.Active:
				paths["relay"]++
			}
		}
		for path, n := range paths {
			gauge(found, peersDesc, n, path)
		}
		close(found)
		f.asked, f.tail = time.Now(), nil
		for m := range found {
			f.tail = append(f.tail, m)
		}
	}
	for _, m := range f.tail {
		ch <- m
	}
	return nil
}

// ask returns nil where there is no tailscaled, or none that may be asked.
func (f *facts) ask(ctx context.Context) (*status, error) {
	socket := f.path(tailscaled)
	if info, err := os.Stat(socket); err != nil || info.Mode()&os.ModeSocket == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://local-tailscaled.sock/localapi/v0/status", nil)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	res, err := (&http.Client{Transport: transport}).Do(req)
	if errors.Is(err, os.ErrPermission) || errors.Is(err, unix.ECONNREFUSED) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("query tailscaled: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("tailscaled responds with %s", res.Status)
	}
	var s status
	if err := json.NewDecoder(http.MaxBytesReader(nil, res.Body, mostStatus)).Decode(&s); err != nil {
		return nil, fmt.Errorf("the status of tailscaled is invalid: %w", err)
	}
	return &s, nil
}
