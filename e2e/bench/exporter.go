package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/clanmon/clanmon/e2e/bench/proc"
)

// exporterPeer is an exporter; {ADDR} in its command is where it serves.
type exporterPeer struct {
	name, command string
	path          string // "" for /metrics

	url     string
	process *proc.Process
	idle    proc.Stat
	begin   proc.Stat
	ms      []float64
	series  int
}

// benchExporters scrapes exporters in turn, n times each: upstream's, the role of
// the all-in-one binary, and the small program.
func benchExporters(bin, small, oracle string, n int) error {
	type kind struct {
		title string
		peers []*exporterPeer
	}
	kinds := []kind{
		{"Exporter node", []*exporterPeer{
			{name: "node_exporter", command: filepath.Join(oracle, "node_exporter") + " --web.listen-address={ADDR}"},
			{name: "clanmon-exporter", command: small + " --exporter=node --web.listen-address={ADDR}"},
			{name: "clanmon exporter", command: bin + " exporter --exporter=node --web.listen-address={ADDR}"},
		}},
		{"Exporter systemd", []*exporterPeer{
			{name: "systemd_exporter", command: filepath.Join(oracle, "systemd_exporter") + " --systemd.collector.enable-restart-count --web.listen-address={ADDR}"},
			{name: "clanmon-exporter", command: small + " --exporter=systemd --web.listen-address={ADDR}"},
			{name: "clanmon exporter", command: bin + " exporter --exporter=systemd --web.listen-address={ADDR}"},
			{name: "clanmon-exporter, all series", command: small + " --exporter=systemd --systemd.collector.all-series --web.listen-address={ADDR}"},
		}},
		{"Exporter node, only its collector systemd", []*exporterPeer{
			{name: "node_exporter", command: filepath.Join(oracle, "node_exporter") + " --collector.disable-defaults --collector.systemd --web.listen-address={ADDR}"},
			{name: "clanmon-exporter", command: small + " --exporter=node --collector.disable-defaults --collector.systemd --web.listen-address={ADDR}"},
		}},
	}
	for _, service := range []struct{ kind, variable, upstream, flag string }{
		{"nginx", "BENCH_NGINX", "nginx-prometheus-exporter", "--nginx.scrape-uri="},
		{"postgres", "BENCH_POSTGRES", "postgres_exporter", ""},
		{"redis", "BENCH_REDIS", "redis_exporter", "--redis.addr="},
	} {
		at := os.Getenv(service.variable)
		if at == "" {
			log.Printf("%s is not set: the kind %s is left out (e2e/bench/run.sh sets it)", service.variable, service.kind)
			continue
		}
		flags := " --web.listen-address={ADDR}"
		if service.flag != "" {
			flags += " " + service.flag + at
		} else if err := os.Setenv("DATA_SOURCE_NAME", at); err != nil {
			return err
		}
		kinds = append(kinds, kind{"Exporter " + service.kind, []*exporterPeer{
			{name: service.upstream, command: filepath.Join(oracle, service.upstream) + flags},
			{name: "clanmon-exporter", command: small + " --exporter=" + service.kind + flags},
		}})
	}
	site, probers, err := probePeers(bin, oracle)
	if err != nil {
		return err
	}
	defer site.Close()
	kinds = append(kinds, kind{"Exporter blackbox, an HTTPS probe as a scrape", probers})
	for _, k := range kinds {
		if strings.Contains(k.title, "systemd") && !busAnswers() {
			log.Print("no system bus here: the kind systemd is left out (DBUS_SYSTEM_BUS_ADDRESS can name one)")
			continue
		}
		if err := measureExporters(k.peers, n); err != nil {
			return err
		}
		var names []string
		for _, p := range k.peers {
			names = append(names, p.name)
		}
		column := func(name string, value func(*exporterPeer) float64) row {
			r := row{name: name}
			for _, p := range k.peers {
				r.values = append(r.values, value(p))
			}
			return r
		}
		end := map[*exporterPeer]proc.Stat{}
		memory := map[*exporterPeer]int64{}
		for _, p := range k.peers {
			end[p], _ = proc.Read(p.process.Pid)
			memory[p] = p.process.CgroupMemory()
			_, _ = p.process.Stop(syscall.SIGTERM, 10*time.Second)
		}
		table(fmt.Sprintf("%s, %d scrapes each in turn", k.title, n), names, []row{
			column("CPU ms per scrape", func(p *exporterPeer) float64 { return (end[p].CPU - p.begin.CPU) * 1000 / float64(n) }),
			column("scrape p50, ms", func(p *exporterPeer) float64 { return proc.Pct(p.ms, .5) }),
			column("series", func(p *exporterPeer) float64 { return float64(p.series) }),
			column("anonymous RSS, idle, MiB", func(p *exporterPeer) float64 { return proc.MiB(p.idle.Anon) }),
			column("anonymous RSS after, MiB", func(p *exporterPeer) float64 { return proc.MiB(end[p].Anon) }),
			column("RSS after, MiB", func(p *exporterPeer) float64 { return proc.MiB(end[p].RSS) }),
			column("cgroup memory after, MiB", func(p *exporterPeer) float64 { return proc.MiB(memory[p]) }),
		})
	}
	return nil
}

// busAnswers says whether somebody listens on the system bus.
func busAnswers() bool {
	path := cmp.Or(strings.TrimPrefix(os.Getenv("DBUS_SYSTEM_BUS_ADDRESS"), "unix:path="), "/run/dbus/system_bus_socket")
	c, err := net.Dial("unix", path)
	if err == nil {
		c.Close()
	}
	return err == nil
}

func measureExporters(peers []*exporterPeer, n int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	for _, p := range peers {
		address, err := freeAddress()
		if err != nil {
			return err
		}
		logFile, err := os.CreateTemp("", "clanmon-bench-*.log")
		if err != nil {
			return err
		}
		logFile.Close()
		defer os.Remove(logFile.Name())
		p.url = "http://" + address + cmp.Or(p.path, "/metrics")
		if p.process, err = proc.Start(p.command, map[string]string{"ADDR": address}, logFile.Name()); err != nil {
			return err
		}
		// The landing page says that it is up without costing a scrape.
		if _, err := p.process.WaitReady(ctx, "http://"+address+"/"); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	rest(2 * time.Second)
	for _, p := range peers {
		p.idle, _ = proc.Read(p.process.Pid)
		for range 20 { // warm up
			if err := p.scrape(false); err != nil {
				return err
			}
		}
		p.begin, _ = proc.Read(p.process.Pid)
	}
	for i := range n {
		for j := range peers {
			if err := peers[(i+j)%len(peers)].scrape(true); err != nil {
				return err
			}
			rest(10 * time.Millisecond)
		}
	}
	return nil
}

// scrape asks as Prometheus does, compressed.
func (p *exporterPeer) scrape(count bool) error {
	req, err := http.NewRequest(http.MethodGet, p.url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "text/plain;version=0.0.4;q=0.5,*/*;q=0.1")
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "10")
	at := time.Now()
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s %v", p.name, r.Status, err)
	}
	if count {
		p.ms = append(p.ms, time.Since(at).Seconds()*1000)
		p.series = 0
		for line := range strings.Lines(string(body)) {
			if line[0] != '#' {
				p.series++
			}
		}
	}
	return nil
}
