package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/clanmon/clanmon/e2e/bench/proc"
)

// benchStarts starts servers on an empty directory, in turn, round after round, with a
// configuration that scrapes the server itself. Times are the fastest, which other work
// of the machine disturbs least; all else are medians.
func benchStarts(peers []serverPeer, rounds int) error {
	rows := []row{
		{name: "listening, ms, fastest"}, {name: "ready, ms, fastest"},
		{name: "anonymous RSS when ready, MiB"}, {name: "anonymous RSS 3 s later, MiB"}, {name: "RSS 3 s later, MiB"},
		{name: "CPU of start and stop, ms"},
	}
	measured := make([][][]float64, len(peers)) // of each peer and row
	for i := range peers {
		measured[i] = make([][]float64, len(rows))
	}
	for round := range rounds {
		for i, p := range peers {
			log.Printf("start, round %d of %d: %s", round+1, rounds, p.name)
			values, err := startOnce(p)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			for k, v := range values {
				measured[i][k] = append(measured[i][k], v)
			}
		}
	}
	var names []string
	for i, p := range peers {
		names = append(names, p.name)
		for k := range rows {
			value := proc.Pct(measured[i][k], .5)
			if k < 2 {
				value = slices.Min(measured[i][k])
			}
			rows[k].values = append(rows[k].values, value)
		}
	}
	table(fmt.Sprintf("Start on an empty directory, %d rounds", rounds), names, rows)
	return nil
}

// startOnce starts a server and stops it. The values are in the order of the rows.
func startOnce(p serverPeer) ([]float64, error) {
	dir, err := os.MkdirTemp("", "clanmon-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf("scrape_configs: [{job_name: self, static_configs: [{targets: [%q]}]}]\n", address)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	s, err := proc.Start(p.command, map[string]string{"CONFIG": config, "DATA": filepath.Join(dir, "data"), "ADDR": address}, filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	listening, err := waitListening(ctx, s, address)
	if err == nil {
		_, err = s.WaitReady(ctx, "http://"+address+"/-/ready")
	}
	ready := time.Since(s.Started)
	if err != nil {
		_, stopErr := s.Stop(syscall.SIGKILL, time.Second)
		return nil, errors.Join(err, stopErr)
	}
	first, _ := proc.Read(s.Pid)
	rest(3 * time.Second)
	later, _ := proc.Read(s.Pid)
	_, err = s.Stop(syscall.SIGTERM, time.Minute)
	used := s.Cmd.ProcessState.UserTime() + s.Cmd.ProcessState.SystemTime()
	ms := func(d time.Duration) float64 { return d.Seconds() * 1000 }
	return []float64{ms(listening), ms(ready), proc.MiB(first.Anon), proc.MiB(later.Anon), proc.MiB(later.RSS), ms(used)}, err
}

// waitListening waits until a process accepts connections, and returns how long after its
// start that was.
func waitListening(ctx context.Context, s *proc.Process, address string) (time.Duration, error) {
	var dialer net.Dialer
	for {
		if c, err := dialer.DialContext(ctx, "tcp", address); err == nil {
			return time.Since(s.Started), c.Close()
		}
		if s.Exited() || ctx.Err() != nil {
			return 0, errors.New("the server does not listen")
		}
		rest(time.Millisecond)
	}
}
