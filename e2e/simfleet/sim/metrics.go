package sim

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Metrics is what the node exporter or the systemd exporter of m answers at now.
func (m *Machine) Metrics(now time.Time, systemd bool) []byte {
	p := &page{m: m, now: float64(now.UnixMilli()) / 1000, boot: m.bootTime(), out: make([]byte, 0, 24<<10)}
	if systemd {
		p.systemd()
	} else {
		p.node()
	}
	return p.out
}

func (p *page) node() {
	m := p.m
	p.processor()
	p.space()
	p.devices()
	p.network()
	p.hardware()
	p.facts()

	p.gauge("node_time_seconds", p.now+map[bool]float64{true: 42}[m.has("clock")])
	p.gauge("node_boot_time_seconds", math.Round(p.boot))
	p.gauge("node_timex_sync_status", map[bool]float64{false: 1}[m.has("clock")])
	p.gauge("node_timex_maxerror_seconds", map[bool]float64{false: .04, true: 16}[m.has("clock")])
	p.gauge("node_timex_offset_seconds", p.around(.0002, 2, "offset"))
	p.gauge("node_os_info", 1, "id", m.os.id, "name", strings.Fields(m.os.pretty)[0], "pretty_name", m.os.pretty, "version_id", "")
	p.gauge("node_uname_info", 1, "domainname", "(none)", "machine", "x86_64", "nodename", m.Name, "release", m.os.kernel, "sysname", "Linux", "version", "#1 SMP")
	p.gauge("node_exporter_build_info", 1, "branch", "", "goversion", "go1.26.8", "revision", "", "version", "1.12.1")
	p.gauge("clanmon_build_info", 1, "commit", "simulated", "role", "exporter", "version", "simulated")
	p.gauge("node_dmi_info", 1, "product_name", "Simulated "+m.role.name, "system_vendor", "clanmon")
	for _, c := range []string{"cpu", "diskstats", "filesystem", "hwmon", "infiniband", "loadavg", "meminfo", "netdev", "pressure", "stat", "textfile", "time", "timex", "uname", "vmstat"} {
		works := c != "infiniband" && !(c == "vmstat" && m.has("collector failing"))
		p.gauge("node_scrape_collector_success", map[bool]float64{true: 1}[works], "collector", c)
	}
	p.gauge("node_textfile_scrape_error", map[bool]float64{true: 1}[m.has("textfile error")])
}

func (p *page) processor() {
	m := p.m
	usual := m.role.load * (.5 + m.chance("load"))
	load := usual
	if m.has("busy") {
		load = .93
	}
	modes := []struct {
		name  string
		part  float64
		extra float64 // seconds, by troubles
	}{
		{"iowait", .01, .19 * m.had("io stall", p.now)}, {"irq", 0, 0}, {"nice", .002, 0}, {"softirq", .004, 0}, {"steal", .001, 0},
		{"system", usual * .25, (.62 - usual*.66) * .25 * m.had("busy", p.now)}, {"user", usual * .75, (.62 - usual*.66) * .75 * m.had("busy", p.now)},
	}
	shown := min(m.cpus, 4) // more would only make the fleet larger
	for cpu := range shown {
		used := 0.
		for _, mode := range modes {
			// Less than the whole even at the top of every swing.
			v := p.total(mode.part*.66, "cpu"+fmt.Sprint(cpu)+mode.name) + mode.extra
			used += v
			p.put("counter", "node_cpu_seconds_total", v, "cpu", strconv.Itoa(cpu), "mode", mode.name)
		}
		p.put("counter", "node_cpu_seconds_total", p.now-p.boot-used, "cpu", strconv.Itoa(cpu), "mode", "idle")
	}
	for i, name := range []string{"node_load1", "node_load5", "node_load15"} {
		p.gauge(name, p.around(load*float64(shown), .5/float64(i+1), "load"))
	}
	p.counter("node_context_switches_total", 2000*float64(shown))
	p.counter("node_intr_total", 900*float64(shown))
	p.counter("node_forks_total", 3)
	p.gauge("node_procs_running", math.Round(p.around(2, .5, "running")))
	p.gauge("node_procs_blocked", 0)
	for cpu := range shown {
		p.gauge("node_cpu_scaling_frequency_hertz", p.around(2.8e9, .1, "frequency"+strconv.Itoa(cpu)), "cpu", strconv.Itoa(cpu))
	}

	stalled := func(name, trouble string, bad float64) {
		usual := .002 + .01*m.chance(trouble)
		p.put("counter", name, p.total(usual, name)+(bad-usual)*m.had(trouble, p.now))
	}
	stalled("node_pressure_cpu_waiting_seconds_total", "busy", .66)
	stalled("node_pressure_memory_waiting_seconds_total", "memory", .45)
	stalled("node_pressure_memory_stalled_seconds_total", "memory", .35)
	stalled("node_pressure_io_waiting_seconds_total", "io stall", .66)
	stalled("node_pressure_io_stalled_seconds_total", "io stall", .6)

	used := .3 + .4*m.chance("memory used")
	if m.has("memory") {
		used = .97
	}
	available := m.memory * (1 - min(.985, p.around(used, .02, "memory")))
	p.gauge("node_memory_MemTotal_bytes", m.memory)
	p.gauge("node_memory_MemAvailable_bytes", math.Round(available))
	p.gauge("node_memory_MemFree_bytes", math.Round(available*.3))
	p.gauge("node_memory_Cached_bytes", math.Round(available*.6))
	p.gauge("node_memory_Buffers_bytes", math.Round(available*.05))
	p.gauge("node_memory_SReclaimable_bytes", math.Round(available*.04))
	p.gauge("node_memory_SwapTotal_bytes", 4<<30)
	p.gauge("node_memory_SwapFree_bytes", math.Round((4<<30)*(1-used*.5)))
	p.put("counter", "node_vmstat_oom_kill", math.Floor(m.had("oom", p.now)/900)) // once in a quarter of an hour
	p.counter("node_vmstat_pgmajfault", .5)
}

// pool is where machines that store have a ZFS pool.
const pool = "/srv/pool"

// space is about file systems.
func (p *page) space() {
	m := p.m
	type fs struct{ device, mount, kind string }
	all := []fs{{"tmpfs", "/run", "tmpfs"}, {"/dev/vda1", "/boot", "vfat"}}
	for i, mount := range m.role.disks {
		if mount == pool {
			continue
		}
		all = append(all, fs{fmt.Sprintf("/dev/vd%c2", 'a'+i), mount, "ext4"})
	}
	last := all[len(all)-1]
	if m.role.name == "store" { // datasets share the space of their pool
		for _, dataset := range []string{"", "/alpha", "/beta", "/gamma", "/home", "/home/ada", "/home/bob", "/media", "/vm"} {
			all = append(all, fs{"tank" + dataset, pool + dataset, "zfs"})
		}
	}
	left := 900. * (1 << 30)
	if m.has("pool full") {
		left = 9 << 30
	}
	each := func(name string, value func(fs) float64) {
		for _, f := range all {
			p.gauge(name, value(f), "device", f.device, "fstype", f.kind, "mountpoint", f.mount)
		}
	}
	free := func(f fs) float64 { return 0 }
	size := func(f fs) float64 {
		switch f.kind {
		case "zfs":
			return free(f) + math.Round(400*m.chance("used "+f.mount))*(1<<30)
		case "tmpfs":
			return m.memory / 5
		case "vfat":
			return 512 << 20
		}
		return (40 + math.Round(200*m.chance("size "+f.mount))) * (1 << 30)
	}
	free = func(f fs) float64 {
		if f.kind == "zfs" {
			return math.Round(p.around(left, .001, "pool")/4096) * 4096
		}
		part := .35 + .5*m.chance("free "+f.mount)
		if f == last {
			switch {
			case m.has("disk full"):
				part = .012
			case m.has("disk almost full"):
				part = .07
			case m.has("disk filling"): // by half in eight hours, then it is cleared
				part = .24 - .15*math.Mod(p.now/28800, 1)
			}
		}
		return math.Round(size(f)*p.around(part, .001, "free "+f.mount)/4096) * 4096
	}
	each("node_filesystem_size_bytes", size)
	each("node_filesystem_avail_bytes", free)
	each("node_filesystem_free_bytes", func(f fs) float64 { return free(f) + size(f)*.01 })
	each("node_filesystem_files", func(f fs) float64 { return math.Round(size(f) / 16384) })
	each("node_filesystem_files_free", func(f fs) float64 {
		if f == last && m.has("inodes") {
			return math.Round(size(f) / 16384 * .02)
		}
		return math.Round(size(f) / 16384 * .9)
	})
	each("node_filesystem_readonly", func(f fs) float64 {
		return map[bool]float64{true: 1}[f == last && m.has("read-only")]
	})
	each("node_filesystem_device_error", func(fs) float64 { return 0 })
}

func (p *page) devices() {
	m := p.m
	usual := .05 + .2*m.chance("disk busy")
	extra := (.65 - usual) * m.had("io stall", p.now)
	each := func(name string, factor float64) {
		for i := range m.role.disks {
			device := fmt.Sprintf("vd%c", 'a'+i)
			p.put("counter", name, factor*(p.total(usual, name+"device"+device)+extra), "device", device)
		}
	}
	each("node_disk_read_bytes_total", 2e7)
	each("node_disk_written_bytes_total", 5e7)
	each("node_disk_reads_completed_total", 400)
	each("node_disk_writes_completed_total", 900)
	each("node_disk_read_time_seconds_total", .6)
	each("node_disk_write_time_seconds_total", 2)
	each("node_disk_io_time_seconds_total", 1)
	if m.role.name == "store" {
		failed := 0.
		if m.has("raid degraded") {
			failed = 1
		}
		p.gauge("node_md_disks", 4-failed, "device", "md0", "state", "active")
		p.gauge("node_md_disks", failed, "device", "md0", "state", "failed")
		p.gauge("node_md_disks", 0, "device", "md0", "state", "spare")
		p.gauge("node_md_disks_required", 4, "device", "md0")
		p.gauge("node_zfs_zpool_state", 1, "state", "online", "zpool", "tank")
		p.gauge("node_zfs_zpool_state", 0, "state", "degraded", "zpool", "tank")
	}
}

func (p *page) network() {
	m := p.m
	rate := 2e4 + 4e6*math.Pow(m.chance("traffic"), 3)
	each := func(name string, value float64) {
		p.counter(name, value, "device", "eth0")
		p.counter(name, value*.02, "device", "lo")
	}
	each("node_network_receive_bytes_total", rate)
	each("node_network_transmit_bytes_total", rate*1.7)
	each("node_network_receive_packets_total", rate/800)
	each("node_network_transmit_packets_total", rate/700)
	p.put("counter", "node_network_receive_errs_total", rate/800*.03*m.had("network errors", p.now), "device", "eth0")
	p.put("counter", "node_network_receive_errs_total", 0, "device", "lo")
	each("node_network_transmit_errs_total", 0)
	each("node_network_receive_drop_total", .001)
	each("node_network_transmit_drop_total", 0)
	p.gauge("node_network_up", 1, "device", "eth0")
	p.gauge("node_network_speed_bytes", 1.25e8, "device", "eth0")
	p.gauge("node_network_info", 1, "address", "02:00:00:00:00:01", "device", "eth0", "duplex", "full", "ifalias", "", "operstate", "up")
	p.gauge("node_nf_conntrack_entries", math.Round(p.around(rate/2000, .3, "conntrack")))
	p.gauge("node_nf_conntrack_entries_limit", 262144)
	p.gauge("node_filefd_allocated", math.Round(p.around(4000, .2, "files")))
	p.gauge("node_filefd_maximum", 1e6)
	p.counter("node_netstat_Tcp_RetransSegs", .2)
	p.counter("node_netstat_Tcp_OutSegs", rate/700)
	p.gauge("node_netstat_Tcp_CurrEstab", math.Round(p.around(60, .4, "established")))
	p.gauge("node_sockstat_TCP_inuse", math.Round(p.around(80, .4, "sockets")))
}

func (p *page) hardware() {
	m := p.m
	temperature := 35 + 20*m.chance("temperature")
	if m.has("hot") {
		temperature = 102
	}
	const chip = "platform_coretemp_0"
	p.gauge("node_hwmon_chip_names", 1, "chip", chip, "chip_name", "coretemp")
	p.gauge("node_hwmon_temp_celsius", math.Round(p.around(temperature, .03, "temperature")), "chip", chip, "sensor", "temp1")
	p.gauge("node_hwmon_temp_crit_celsius", 95, "chip", chip, "sensor", "temp1")
	p.gauge("node_hwmon_sensor_label", 1, "chip", chip, "label", "Package id 0", "sensor", "temp1")
	p.gauge("node_hwmon_fan_rpm", math.Round(p.around(1800, .2, "fan")), "chip", chip, "sensor", "fan1")
	p.put("counter", "node_edac_correctable_errors_total", 0, "controller", "0")
	p.put("counter", "node_edac_uncorrectable_errors_total", 0, "controller", "0")
	p.gauge("node_kernel_hung_tasks_total", 0)
}

func (p *page) facts() {
	m := p.m
	reboot := map[bool]float64{true: 1}[m.has("reboot needed")]
	if m.os.id == "nixos" {
		newest := 100 + math.Round(200*m.chance("generation"))
		p.gauge("clanmon_nixos_generation", newest-reboot, "which", "booted")
		p.gauge("clanmon_nixos_generation", newest, "which", "current")
		p.gauge("clanmon_nixos_generation", newest, "which", "newest")
		p.gauge("clanmon_nixos_kernel_current", 1-reboot)
		p.gauge("clanmon_nixos_system_activated_timestamp_seconds", math.Round(p.boot+day*m.chance("activated")))
	} else {
		p.gauge("clanmon_reboot_required", reboot)
	}
	if m.role.name == "edge" || m.Intermittent {
		p.gauge("clanmon_tailscale_up", 1)
		p.gauge("clanmon_tailscale_health_messages", 0)
		p.gauge("clanmon_tailscale_active_peers", math.Round(5*m.chance("peers")), "path", "direct")
		p.gauge("clanmon_tailscale_active_peers", math.Round(2*m.chance("relays")), "path", "relay")
		p.gauge("clanmon_tailscale_key_expiry_timestamp_seconds", math.Round(p.now+day*(20+100*m.chance("key"))))
	}
}

// unit is one of systemd's.
type unit struct {
	name, kind, state string
	service           string // its type
}

var commonServices = []string{
	"clanmon-exporter", "cron", "dbus", "getty@tty1", "ssh", "systemd-journald", "systemd-logind", "systemd-networkd", "systemd-resolved",
	"systemd-timesyncd", "systemd-udevd", "unattended-upgrades", "user@1000",
}

var timers = []string{"apt-daily", "backup", "fstrim", "logrotate", "systemd-tmpfiles-clean"}

var others = []unit{
	{"-.mount", "mount", "active", ""}, {"boot.mount", "mount", "active", ""}, {"run-user-1000.mount", "mount", "active", ""},
	{"dbus.socket", "socket", "active", ""}, {"syslog.socket", "socket", "active", ""}, {"systemd-udevd-control.socket", "socket", "active", ""},
	{"basic.target", "target", "active", ""}, {"multi-user.target", "target", "active", ""}, {"network-online.target", "target", "active", ""}, {"timers.target", "target", "active", ""},
	{"system.slice", "slice", "active", ""}, {"user.slice", "slice", "active", ""}, {"init.scope", "scope", "active", ""},
}

func (m *Machine) units() []unit {
	var all []unit
	for _, name := range append(append([]string{}, commonServices...), m.role.units...) {
		all = append(all, unit{name + ".service", "service", "active", "simple"})
	}
	for _, name := range timers { // the services of timers run now and then
		all = append(all, unit{name + ".service", "service", "inactive", "oneshot"}, unit{name + ".timer", "timer", "active", ""})
	}
	last := &all[len(commonServices)+len(m.role.units)-1]
	switch {
	case m.has("unit failed"):
		last.state = "failed"
	case m.has("unit stuck starting"):
		last.state = "activating"
	}
	if m.has("unit failed") && m.chance("backup") < .5 {
		for i := range all {
			if all[i].name == "backup.service" {
				all[i].state = "failed"
			}
		}
	}
	return append(all, others...)
}

func (p *page) systemd() {
	m := p.m
	p.gauge("clanmon_build_info", 1, "commit", "simulated", "role", "exporter", "version", "simulated")
	p.gauge("clanmon_exporter_collector_success", map[bool]float64{false: 1}[m.has("no systemd")], "collector", "systemd")
	if m.has("no systemd") {
		return
	}
	units := m.units()
	can := func(state string, u unit) bool {
		return state == u.state || state == "active" || state == "failed" && (u.kind == "service" || u.kind == "mount" || u.kind == "socket" || u.kind == "timer")
	}
	for _, u := range units {
		for _, state := range []string{"activating", "active", "deactivating", "failed", "inactive"} {
			if can(state, u) {
				p.gauge("systemd_unit_state", map[bool]float64{true: 1}[state == u.state], "name", u.name, "state", state, "type", u.kind)
			}
		}
	}
	// Most started with the machine, some later; one that failed did so lately.
	since := func(u unit) float64 {
		s := p.boot + 20*m.chance("since "+u.name)
		if m.chance("restarted "+u.name) < .2 {
			s += (p.fixed() - p.boot) * m.chance("when "+u.name)
		}
		return math.Round(s)
	}
	for _, u := range units {
		if u.state == "active" || u.state == "failed" {
			p.gauge("systemd_unit_active_enter_time_seconds", since(u), "name", u.name, "type", u.kind)
		}
	}
	for _, u := range units {
		if u.state == "failed" || u.state == "inactive" {
			p.gauge("systemd_unit_inactive_enter_time_seconds", since(u)+30, "name", u.name, "type", u.kind)
		}
	}
	var services, running []unit
	crashing := commonServices[0] + ".service"
	for _, u := range units {
		if u.kind != "service" {
			continue
		}
		services = append(services, u)
		if u.state == "active" {
			running = append(running, u)
			if u.service == "simple" {
				crashing = u.name // the last of the role's
			}
		}
	}
	for _, u := range services {
		p.gauge("systemd_unit_info", 1, "name", u.name, "type", u.kind, "mount_type", "", "service_type", u.service)
	}
	for _, u := range services {
		n := math.Floor(3 * m.chance("restarts "+u.name) * m.chance("again"))
		if u.name == crashing {
			n += math.Floor(m.had("unit crash-looping", p.now) / 45)
		}
		p.put("counter", "systemd_service_restart_total", n, "name", u.name)
	}
	for _, u := range running {
		p.gauge("systemd_unit_tasks_current", math.Round(p.around(2+30*m.chance("tasks "+u.name), .1, u.name)), "name", u.name)
	}
	for _, u := range running {
		p.gauge("systemd_unit_tasks_max", 4915, "name", u.name, "type", u.kind)
	}
	for _, u := range running {
		load := m.role.load * math.Pow(m.chance("cpu "+u.name), 4)
		p.counter("systemd_unit_cpu_seconds_total", load*.3, "name", u.name, "type", u.kind, "mode", "system")
		p.counter("systemd_unit_cpu_seconds_total", load, "name", u.name, "type", u.kind, "mode", "user")
	}
	for _, u := range running {
		bytes := m.memory * .2 * math.Pow(m.chance("memory "+u.name), 4)
		now := p.around(bytes+4e6, .05, u.name)
		p.gauge("systemd_unit_memory_bytes", math.Round(now*.7), "name", u.name, "type", u.kind, "kind", "anon")
		p.gauge("systemd_unit_memory_bytes", math.Round(now), "name", u.name, "type", u.kind, "kind", "current")
	}
	every := func(timer string) float64 {
		if timer == "systemd-tmpfiles-clean" || timer == "logrotate" {
			return 3600
		}
		return day
	}
	type run struct{ last, next, overdue float64 }
	runs := make(map[string]run)
	for _, t := range timers {
		at := p.now - math.Mod(p.now+every(t)*m.chance("timer "+t), every(t))
		r := run{last: at, next: at + every(t)}
		if t == "backup" && m.has("timer overdue") { // for 11 days, with nothing that would start it
			r.last = p.now - math.Mod(p.now, day) - 11*day
			r.next, r.overdue = 0, p.now-r.last-2*day
		}
		runs[t] = r
	}
	each := func(name string, value func(run) float64) {
		for _, t := range timers {
			p.gauge(name, math.Round(value(runs[t])), "name", t+".timer")
		}
	}
	each("systemd_timer_last_trigger_seconds", func(r run) float64 { return r.last })
	each("clanmon_systemd_timer_next_elapse_timestamp_seconds", func(r run) float64 { return r.next })
	each("clanmon_systemd_timer_overdue_seconds", func(r run) float64 { return r.overdue })
	results := make(map[string]string)
	for _, t := range timers {
		results[t] = "success"
		for _, u := range units {
			if u.name == t+".service" && u.state == "failed" {
				results[t] = "exit-code"
			}
		}
		p.gauge("clanmon_systemd_timer_last_result", 1, "name", t+".timer", "unit", t+".service", "result", results[t])
	}
	for _, t := range timers {
		p.gauge("clanmon_systemd_timer_interval_seconds", every(t), "name", t+".timer", "unit", t+".service")
	}
	took := func(timer string) float64 { return math.Round(5 + 55*m.chance("duration "+timer)) }
	for _, t := range timers {
		p.gauge("clanmon_systemd_job_running", 0, "name", t+".service", "timer", t+".timer")
	}
	for _, t := range timers {
		p.gauge("clanmon_systemd_job_last_start_timestamp_seconds", math.Round(runs[t].last), "name", t+".service")
	}
	for _, t := range timers {
		p.gauge("clanmon_systemd_job_last_duration_seconds", took(t), "name", t+".service")
	}
	for _, t := range timers {
		code := map[string]float64{"exit-code": 1}[results[t]]
		p.gauge("clanmon_systemd_job_last_exit_code", code, "name", t+".service", "result", results[t])
	}
	for _, t := range timers {
		if results[t] == "success" {
			p.gauge("systemd_unit_last_success_timestamp_seconds", math.Round(runs[t].last)+took(t), "name", t+".service", "type", "service")
		}
	}
}

// fixed is a time of this week that stays for the week.
func (p *page) fixed() float64 { return math.Floor(p.now/(7*day)) * 7 * day }
