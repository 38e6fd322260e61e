// Package gen makes targets like node_exporter's, with values that change as
// those of a machine do. It is for benchmarks; a Fleet is an http.Handler and
// runs nothing.
package gen

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

type kind uint8

const (
	constant kind = iota
	counterInt
	counterFloat
	gaugeInt
	gaugeFloat
	bucket
)

type series struct {
	pre  string // text before value (may include HELP/TYPE lines)
	k    kind
	v    float64
	step float64
	prob float64 // probability of change per scrape
}

// Target is one synthetic exporter.
type Target struct {
	mu      sync.Mutex
	ss      []series
	rng     *rand.Rand
	buf     bytes.Buffer
	gz      bytes.Buffer
	Served  atomic.Int64
	Samples atomic.Int64
	LastNS  atomic.Int64
	MaxGap  atomic.Int64
	FirstNS atomic.Int64
}

func NewTarget(id, n int, churn int) *Target {
	t := &Target{rng: rand.New(rand.NewPCG(uint64(id)+1, 42))}
	r := t.rng
	type fam struct {
		name, typ string
		lbls      []string
		k         kind
		step      float64
		prob      float64
		base      float64
	}
	var fs []fam
	add := func(name, typ string, lbls []string, k kind, step, prob, base float64) {
		fs = append(fs, fam{name, typ, lbls, k, step, prob, base})
	}
	var cpu, guest, cpus []string
	for c := 0; c < 16; c++ {
		for _, m := range []string{"idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"} {
			cpu = append(cpu, fmt.Sprintf(`cpu="%d",mode="%s"`, c, m))
		}
		guest = append(guest, fmt.Sprintf(`cpu="%d",mode="nice"`, c), fmt.Sprintf(`cpu="%d",mode="user"`, c))
		cpus = append(cpus, fmt.Sprintf(`cpu="%d"`, c))
	}
	add("node_cpu_seconds_total", "counter", cpu, counterFloat, 0.5, 0.8, 1e5)
	add("node_cpu_guest_seconds_total", "counter", guest, constant, 0, 0, 0)
	for _, m := range []string{"running_seconds_total", "waiting_seconds_total", "timeslices_total"} {
		add("node_schedstat_"+m, "counter", cpus, counterFloat, 0.7, 1, 1e6)
	}
	devs := []string{`device="nvme0n1"`, `device="nvme1n1"`, `device="sda"`, `device="sdb"`, `device="dm-0"`, `device="md127"`}
	for i, m := range []string{"reads_completed_total", "reads_merged_total", "read_bytes_total", "read_time_seconds_total", "writes_completed_total", "writes_merged_total", "written_bytes_total", "write_time_seconds_total", "io_now", "io_time_seconds_total", "io_time_weighted_seconds_total", "discards_completed_total", "discards_merged_total", "discarded_sectors_total", "discard_time_seconds_total", "flush_requests_total", "flush_requests_time_seconds_total"} {
		k, p, typ := counterInt, 0.6, "counter"
		if strings.Contains(m, "seconds") {
			k = counterFloat
		}
		if strings.Contains(m, "discard") {
			k, p = constant, 0
		}
		if m == "io_now" {
			k, typ = gaugeInt, "gauge"
		}
		add("node_disk_"+m, typ, devs, k, 4096*float64(i+1), p, 1e9)
	}
	var net []string
	for _, d := range []string{"lo", "eth0", "eth1", "wg0", "docker0", "br-lan", "veth3f9a1c2", "tailscale0"} {
		net = append(net, `device="`+d+`"`)
	}
	for _, m := range []string{"bytes", "packets", "errs", "drop", "fifo", "compressed", "multicast", "frame"} {
		for _, d := range []string{"receive", "transmit"} {
			k, p := counterInt, 0.9
			if m != "bytes" && m != "packets" {
				k, p = constant, 0
			}
			add("node_network_"+d+"_"+m+"_total", "counter", net, k, 1500, p, 1e8)
		}
	}
	for _, m := range []string{"up", "mtu_bytes", "speed_bytes", "carrier"} {
		add("node_network_"+m, "gauge", net, constant, 0, 0, 1)
	}
	var fss []string
	for i, m := range []string{"/", "/boot", "/home", "/var", "/nix/store", "/srv", "/run", "/tmp", "/var/lib/postgresql", "/var/log"} {
		fss = append(fss, fmt.Sprintf(`device="/dev/mapper/vg-%d",fstype="ext4",mountpoint="%s",device_error=""`, i, m))
	}
	for _, m := range []string{"size_bytes", "free_bytes", "avail_bytes", "files", "files_free", "readonly", "device_error"} {
		k, p := gaugeInt, 0.3
		if m == "size_bytes" || m == "files" || m == "readonly" || m == "device_error" {
			k, p = constant, 0
		}
		add("node_filesystem_"+m, "gauge", fss, k, 4096, p, 1e11)
	}
	for i := 0; i < 48; i++ {
		add(fmt.Sprintf("node_memory_Field%02d_bytes", i), "gauge", []string{""}, gaugeInt, 1<<16, 0.6, 1e10)
	}
	for i := 0; i < 60; i++ {
		add(fmt.Sprintf("node_netstat_Proto_Counter%02d", i), "untyped", []string{""}, counterInt, 20, 0.5, 1e6)
	}
	for i := 0; i < 24; i++ {
		add(fmt.Sprintf("node_vmstat_field%02d", i), "untyped", []string{""}, counterInt, 300, 0.8, 1e7)
	}
	for i, m := range []string{"load1", "load5", "load15", "procs_running", "procs_blocked", "entropy_available_bits"} {
		add("node_"+m, "gauge", []string{""}, gaugeFloat, 0.1, 0.9, float64(i))
	}
	for _, m := range []string{"context_switches_total", "intr_total", "forks_total"} {
		add("node_"+m, "counter", []string{""}, counterInt, 5000, 1, 1e9)
	}
	add("node_time_seconds", "gauge", []string{""}, counterFloat, 1, 1, 1.7e9)
	add("node_boot_time_seconds", "gauge", []string{""}, constant, 0, 0, 1.7e9)
	add("node_uname_info", "gauge", []string{fmt.Sprintf(`domainname="(none)",machine="x86_64",nodename="host%03d",release="6.12.1",sysname="Linux",version="#1-NixOS SMP"`, id)}, constant, 0, 0, 1)
	var hb []string
	for _, h := range []string{"/api/v1/query", "/api/v1/query_range", "/metrics", "/graph"} {
		for _, le := range []string{"0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "30", "60", "+Inf"} {
			hb = append(hb, fmt.Sprintf(`handler="%s",le="%s"`, h, le))
		}
	}
	add("http_request_duration_seconds_bucket", "untyped", hb, bucket, 3, 0.7, 1000)
	var units []string
	for u := 0; u < 400; u++ {
		for _, st := range []string{"activating", "active", "deactivating", "failed", "inactive"} {
			units = append(units, fmt.Sprintf(`name="unit-%03d.service",state="%s",type="simple"`, u, st))
		}
	}
	add("node_systemd_unit_state", "gauge", units, constant, 0, 0, 0)
	for _, f := range fs {
		for i, l := range f.lbls {
			if len(t.ss) >= n {
				return t
			}
			var b strings.Builder
			if i == 0 {
				fmt.Fprintf(&b, "# HELP %s %s help text as node exporter has it.\n# TYPE %s %s\n", f.name, f.name, f.name, f.typ)
			}
			b.WriteString(f.name)
			if l != "" {
				b.WriteString("{" + l + "}")
			}
			b.WriteByte(' ')
			v := f.base
			if f.k != constant {
				v = f.base * (0.5 + r.Float64())
			}
			if f.k == counterInt || f.k == gaugeInt || f.k == bucket {
				v = math.Floor(v)
			}
			if f.k == counterFloat {
				v = math.Round(v*100) / 100
			}
			if f.name == "node_systemd_unit_state" && i%5 == 1 {
				v = 1
			}
			t.ss = append(t.ss, series{pre: b.String(), k: f.k, v: v, step: f.step, prob: f.prob})
		}
	}
	return t
}

func (t *Target) render(interval float64) []byte {
	t.buf.Reset()
	r := t.rng
	var tmp [32]byte
	for i := range t.ss {
		s := &t.ss[i]
		if s.k != constant && r.Float64() < s.prob {
			switch s.k {
			case counterInt:
				s.v += math.Floor(r.Float64() * s.step)
			case bucket:
				s.v += math.Floor(r.Float64() * s.step)
			case counterFloat:
				s.v = math.Round((s.v+r.Float64()*s.step)*100) / 100
			case gaugeInt:
				s.v = math.Max(0, s.v+math.Floor((r.Float64()-0.5)*2*s.step))
			case gaugeFloat:
				s.v = math.Abs(math.Round((s.v+(r.Float64()-0.5)*s.step)*100) / 100)
			}
		}
		t.buf.WriteString(s.pre)
		t.buf.Write(strconv.AppendFloat(tmp[:0], s.v, 'g', -1, 64))
		t.buf.WriteByte('\n')
	}
	return t.buf.Bytes()
}

// Fleet serves /t/<n>/metrics.
type Fleet struct {
	T    []*Target
	Gzip bool
}

func NewFleet(n, series int, gz bool) *Fleet {
	f := &Fleet{Gzip: gz}
	for i := 0; i < n; i++ {
		f.T = append(f.T, NewTarget(i, series, 0))
	}
	return f
}

func (f *Fleet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := strings.Split(r.URL.Path, "/")
	if len(p) < 3 {
		http.NotFound(w, r)
		return
	}
	i, err := strconv.Atoi(p[2])
	if err != nil || i < 0 || i >= len(f.T) {
		http.NotFound(w, r)
		return
	}
	t := f.T[i]
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now().UnixNano()
	if l := t.LastNS.Swap(now); l != 0 {
		if g := now - l; g > t.MaxGap.Load() {
			t.MaxGap.Store(g)
		}
	} else {
		t.FirstNS.Store(now)
	}
	b := t.render(1)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	if f.Gzip && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		t.gz.Reset()
		z, _ := gzip.NewWriterLevel(&t.gz, gzip.BestSpeed)
		z.Write(b)
		z.Close()
		b = t.gz.Bytes()
	}
	w.Write(b)
	t.Served.Add(1)
	t.Samples.Add(int64(len(t.ss)))
}

func (f *Fleet) Totals() (served, samples int64) {
	for _, t := range f.T {
		served += t.Served.Load()
		samples += t.Samples.Load()
	}
	return
}
