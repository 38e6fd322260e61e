package main

import (
	"context"
	"encoding/json"
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
	"syscall"
	"time"

	"github.com/clanmon/clanmon/e2e/bench/proc"
)

// What it costs to know where a fleet is: a thousand machines with two jobs each
// that are scraped so rarely that scraping costs nothing. clanmon finds them by
// its own way, Prometheus reads them from a file (file_sd_configs). In the second
// half one machine changes every five seconds.

const (
	discoveryMachines = 1000
	nodePort          = 19100
	systemdPort       = 19558
)

// fakeTailnet is a tailscaled with a thousand peers at 127.1.0.1 and onwards, and
// the exporters of them all. It stands for the real one, of which no machine holds
// a thousand.
type fakeTailnet struct {
	mu      sync.Mutex
	peers   map[string]map[string]any
	changed chan struct{}
}

func newFakeTailnet() *fakeTailnet {
	n := &fakeTailnet{peers: make(map[string]map[string]any), changed: make(chan struct{}, 1)}
	for i := range discoveryMachines {
		n.peers[fmt.Sprintf("nodekey:%04d", i)] = map[string]any{
			"ID": strconv.Itoa(i), "HostName": fmt.Sprintf("m%d", i), "DNSName": fmt.Sprintf("m%d.tn.test.", i), "OS": "linux", "UserID": 1,
			"TailscaleIPs": []string{fmt.Sprintf("127.1.%d.%d", i/250, i%250+1)}, "Online": true, "Tags": []string{"tag:server"},
			"Relay": "fra", "LastSeen": "0001-01-01T00:00:00Z", "KeyExpiry": "2030-01-01T00:00:00Z",
		}
	}
	return n
}

// change turns the tags of one machine.
func (n *fakeTailnet) change(i int) {
	n.mu.Lock()
	n.peers[fmt.Sprintf("nodekey:%04d", i%discoveryMachines)]["Tags"] = []string{fmt.Sprintf("tag:turn%d", i)}
	n.mu.Unlock()
	n.changed <- struct{}{}
}

func (n *fakeTailnet) serve(socket string) (func(), error) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /localapi/v0/status", func(w http.ResponseWriter, _ *http.Request) {
		n.mu.Lock()
		defer n.mu.Unlock()
		_ = json.NewEncoder(w).Encode(map[string]any{
			"Version": "1.102.5", "BackendState": "Running", "Peer": n.peers,
			"Self": map[string]any{"ID": "self", "DNSName": "hall.tn.test.", "OS": "linux", "TailscaleIPs": []string{"127.2.0.1"}, "Online": true},
			"User": map[string]any{"1": map[string]any{"LoginName": "me@example.org"}},
		})
	})
	mux.HandleFunc("GET /localapi/v0/watch-ipn-bus", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, `{"Version":"1.102.5","State":6}`)
		_ = http.NewResponseController(w).Flush()
		for {
			select {
			case <-n.changed:
				fmt.Fprintln(w, `{"PeersChanged":[{}]}`)
				_ = http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				return
			}
		}
	})
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	closers := []io.Closer{l}
	go func() { _ = http.Serve(l, mux) }()
	exporter := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "stub 1\n") })
	for _, port := range []int{nodePort, systemdPort} {
		l, err := net.Listen("tcp", fmt.Sprintf("0.0.0.0:%d", port))
		if err != nil {
			return nil, err
		}
		closers = append(closers, l)
		go func() { _ = http.Serve(l, exporter) }()
	}
	return func() {
		for _, c := range closers {
			_ = c.Close()
		}
	}, nil
}

// fileGroups is the same fleet for file_sd_configs.
func fileGroups(turn int) []byte {
	type group struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	var all []group
	for i := range discoveryMachines {
		labels := map[string]string{"machine": fmt.Sprintf("m%d", i)}
		if i == turn%discoveryMachines {
			labels["__meta_tags"] = fmt.Sprint("turn", turn)
		}
		all = append(all, group{[]string{fmt.Sprintf("127.1.%d.%d", i/250, i%250+1)}, labels})
	}
	text, _ := json.Marshal(all)
	return text
}

type discoveryFigures [6]float64

var discoveryFigureNames = [...]string{
	"all are targets after, s", "% of a core, nothing changes", "% of a core, a change every 5 s",
	"goroutines", "goroutines per target", "anonymous RSS, MiB",
}

func benchDiscovery(bin, oracle string, window time.Duration) error {
	dir, err := os.MkdirTemp("", "cb-") // short: a socket's path is limited
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	tailnet := newFakeTailnet()
	stop, err := tailnet.serve(filepath.Join(dir, "s"))
	if err != nil {
		return err
	}
	defer stop()
	groups := filepath.Join(dir, "groups.json")
	writeGroups := func(turn int) {
		_ = os.WriteFile(groups+".new", fileGroups(turn), 0o600)
		_ = os.Rename(groups+".new", groups)
	}
	writeGroups(0)
	jobs := ""
	for job, port := range map[string]int{"node": nodePort, "systemd": systemdPort} {
		jobs += fmt.Sprintf("- job_name: %s\n  file_sd_configs: [{files: [%q]}]\n  relabel_configs:\n  - {source_labels: [__address__], target_label: __address__, replacement: '$1:%d'}\n  - {source_labels: [machine], target_label: instance, replacement: '$1:%d'}\n", job, groups, port, port)
	}
	ourFlags := fmt.Sprintf(" --discovery=tailscale --discovery.tailscale.socket=%s --discovery.tailscale.job=node:%d --discovery.tailscale.job=systemd:%d", filepath.Join(dir, "s"), nodePort, systemdPort)
	flags := " --config.file={CONFIG} --storage.tsdb.path={DATA} --web.listen-address={ADDR}"
	peers := []struct {
		name, command, config string
		change                func(int)
	}{
		{"prometheus, file_sd", filepath.Join(oracle, "prometheus") + flags, jobs, writeGroups},
		{"clanmon, file_sd", bin + " server" + flags, jobs, writeGroups},
		{"clanmon, tailscale", bin + " server" + flags + ourFlags, "", tailnet.change},
	}
	var names []string
	rows := make([]row, len(discoveryFigureNames))
	for k, name := range discoveryFigureNames {
		rows[k].name = name
	}
	for _, p := range peers {
		config := "global: {scrape_interval: 6h}\nscrape_configs:\n" + p.config
		f, err := measureDiscovery(dir, p.name, p.command, config, p.change, window)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		names = append(names, p.name)
		for k := range rows {
			rows[k].values = append(rows[k].values, f[k])
		}
	}
	table(fmt.Sprintf("Discovery: %d machines × 2 jobs, scraped every 6 h", discoveryMachines), names, rows)
	return nil
}

func measureDiscovery(dir, name, command, config string, change func(int), window time.Duration) (f discoveryFigures, err error) {
	dir = filepath.Join(dir, name[:strings.IndexByte(name, ',')]+name[len(name)-2:])
	if err := os.Mkdir(dir, 0o700); err != nil {
		return f, err
	}
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return f, err
	}
	address, err := freeAddress()
	if err != nil {
		return f, err
	}
	s, err := proc.Start(command, map[string]string{"CONFIG": file, "DATA": filepath.Join(dir, "data"), "ADDR": address}, filepath.Join(dir, "log"))
	if err != nil {
		return f, err
	}
	defer func() { _, _ = s.Stop(syscall.SIGKILL, time.Second) }()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if _, err := s.WaitReady(ctx, "http://"+address+"/-/ready"); err != nil {
		return f, err
	}
	began := time.Now()
	for {
		n := 0.
		for _, job := range []string{"node", "systemd"} {
			n += metric(address, `prometheus_target_scrape_pool_targets{scrape_job="`+job+`"}`)
		}
		if n >= 2*discoveryMachines {
			break
		}
		if ctx.Err() != nil {
			text, _ := os.ReadFile(filepath.Join(dir, "log"))
			return f, fmt.Errorf("only %v targets: %s", n, text)
		}
		rest(100 * time.Millisecond)
	}
	f[0] = time.Since(began).Seconds()
	rest(10 * time.Second)
	share := func(during func()) float64 {
		before, _ := proc.Read(s.Pid)
		at := time.Now()
		during()
		after, _ := proc.Read(s.Pid)
		return (after.CPU - before.CPU) / time.Since(at).Seconds() * 100
	}
	f[1] = share(func() { rest(window) })
	f[2] = share(func() {
		for i := range int(window / (5 * time.Second)) {
			change(i + 1)
			rest(5 * time.Second)
		}
	})
	f[3] = metric(address, "go_goroutines")
	f[4] = f[3] / (2 * discoveryMachines)
	end, _ := proc.Read(s.Pid)
	f[5] = proc.MiB(end.Anon)
	return f, nil
}

// metric reads one of the server's own metrics; 0 if it is not there.
func metric(address, series string) float64 {
	res, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (\S+)$`).FindSubmatch(text)
	if found == nil {
		return 0
	}
	v, _ := strconv.ParseFloat(string(found[1]), 64)
	return v
}
