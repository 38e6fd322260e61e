// Command bench measures clanmon beside its peers, in one run on one machine,
// and prints the figures as a Markdown table with ratios. What counts are the
// ratios: the machine is noisy, and all peers meet the same noise.
//
//	go run ./e2e/bench [-short] [-rounds N] [-only server|start|restart|dashboard|exporter|push|discovery|ui]
//
// The peers are upstream's own programs, built from the module versions that
// clanmon embeds (CLANMON_ORACLE_DIR, as make bench sets it), and VictoriaMetrics
// where PEER_VICTORIAMETRICS names its binary or it is in PATH. The part push needs
// vmagent, which build-vmagent.sh builds.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

func main() {
	log.SetFlags(log.Ltime)
	short := flag.Bool("short", false, "less of each: good for a first look")
	only := flag.String("only", "", "server, start, restart, dashboard, exporter, push, discovery or ui")
	serverRounds := flag.Int("rounds", 0, "rounds of the part server (0 is 3, and 1 with -short)")
	flag.Parse()

	bin := cmp.Or(os.Getenv("CLANMON_BIN"), "bin/clanmon")
	small := cmp.Or(os.Getenv("CLANMON_EXPORTER_BIN"), "bin/clanmon-exporter")
	oracle := cmp.Or(os.Getenv("CLANMON_ORACLE_DIR"), "bin/oracle")
	for _, f := range []string{bin, small, filepath.Join(oracle, "prometheus"), filepath.Join(oracle, "node_exporter"), filepath.Join(oracle, "systemd_exporter")} {
		if _, err := os.Stat(f); err != nil {
			log.Fatalf("%v; run make bench, which builds it", err)
		}
	}
	flags := "--config.file={CONFIG} --storage.tsdb.path={DATA} --web.listen-address={ADDR}"
	peers := []serverPeer{
		{"prometheus", filepath.Join(oracle, "prometheus") + " " + flags},
		{"clanmon", bin + " server " + flags},
	}
	if *only == "" || *only == "dashboard" {
		loads := 9
		if *short {
			loads = 3
		}
		if err := benchDashboard(peers, loads); err != nil {
			log.Fatal(err)
		}
	}
	if *only == "" || *only == "start" {
		rounds := 12
		if *short {
			rounds = 4
		}
		if err := benchStarts(peers, rounds); err != nil {
			log.Fatal(err)
		}
	}
	if *only == "" || *only == "restart" {
		rounds := 5
		if *short {
			rounds = 2
		}
		const feature = " --enable-feature=memory-snapshot-on-shutdown"
		with := append(slices.Clone(peers), serverPeer{"clanmon, snapshot", peers[1].command + feature}, serverPeer{"prometheus, snapshot", peers[0].command + feature})
		if err := benchRestarts(with, rounds); err != nil {
			log.Fatal(err)
		}
	}
	if *only == "" || *only == "server" {
		l := load{targets: 100, series: 1000, interval: time.Second, ingest: 60 * time.Second, queries: 40 * time.Second, rounds: 3}
		if *short {
			l.ingest, l.queries, l.rounds = 15*time.Second, 10*time.Second, 1
		}
		l.rounds = cmp.Or(*serverRounds, l.rounds)
		if vm := cmp.Or(os.Getenv("PEER_VICTORIAMETRICS"), look("victoria-metrics")); vm != "" {
			peers = append(peers, serverPeer{"victoriametrics", vm + " -promscrape.config={CONFIG} -storageDataPath={DATA} -httpListenAddr={ADDR} -retentionPeriod=1y"})
		}
		if err := benchServers(peers, l); err != nil {
			log.Fatal(err)
		}
	}
	if *only == "" || *only == "discovery" {
		window := time.Minute
		if *short {
			window = 30 * time.Second
		}
		if err := benchDiscovery(bin, oracle, window); err != nil {
			log.Fatal(err)
		}
	}
	if *only == "" || *only == "ui" {
		if err := benchUI(bin); err != nil {
			log.Fatal(err)
		}
	}
	if *only == "" || *only == "exporter" {
		n := 300
		if *short {
			n = 100
		}
		if err := benchExporters(bin, small, oracle, n); err != nil {
			log.Fatal(err)
		}
	}
	if *only == "" || *only == "push" {
		o := outage{interval: 5 * time.Second, before: 2 * time.Minute, cut: 4 * time.Minute, back: 2 * time.Minute, kills: []time.Duration{58 * time.Second, 147 * time.Second}}
		if *short {
			o = outage{interval: 2 * time.Second, before: 30 * time.Second, cut: time.Minute, back: time.Minute, kills: []time.Duration{15 * time.Second, 40 * time.Second}}
		}
		if err := benchPush(small, oracle, o); err != nil {
			log.Fatal(err)
		}
	}
}

func look(name string) string {
	path, _ := exec.LookPath(name)
	return path
}

// table prints rows of figures, and behind them the ratio of each column to the
// first.
func table(title string, names []string, rows []row) {
	fmt.Printf("\n### %s\n\n| |", title)
	for _, n := range names {
		fmt.Printf(" %s |", n)
	}
	for _, n := range names[1:] {
		fmt.Printf(" %s / %s |", n, names[0])
	}
	fmt.Print("\n|---|")
	for range 2*len(names) - 1 {
		fmt.Print("---|")
	}
	fmt.Println()
	for _, r := range rows {
		fmt.Printf("| %s |", r.name)
		for _, v := range r.values {
			fmt.Printf(" %s |", figure(v))
		}
		for _, v := range r.values[1:] {
			if r.values[0] > 0 && v > 0 {
				fmt.Printf(" %.2f |", v/r.values[0])
			} else {
				fmt.Print(" – |")
			}
		}
		fmt.Println()
	}
}

type row struct {
	name   string
	values []float64
}

func figure(v float64) string {
	switch {
	case v == 0:
		return "–"
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}
