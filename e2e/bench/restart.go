package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/clanmon/clanmon/e2e/bench/proc"
)

// All samples are younger than what a server compacts, so all are in the head.
const (
	headSeries  = 10_000
	headSamples = 1_000 // of each series
	headPeriod  = 8 * time.Second
	headChurned = 500 // series that exist for a tenth of the time
)

// benchRestarts measures what stopping and starting costs servers that have the same data
// in memory, in turn, round after round, and prints the medians.
func benchRestarts(peers []serverPeer, rounds int) error {
	dir, err := os.MkdirTemp("", "clanmon-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	log.Printf("restart: writing %d samples", headSeries*headSamples)
	data := filepath.Join(dir, "data")
	if err := writeHead(data); err != nil {
		return err
	}
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte("global: {}\n"), 0o600); err != nil {
		return err
	}
	rows := []row{
		{name: "SIGTERM to exit, ms"}, {name: "start to ready, ms"}, {name: "both, ms"},
		{name: "CPU of the start, s"}, {name: "peak RSS, MiB"}, {name: "peak anonymous RSS, MiB"}, {name: "anonymous RSS 5 s after ready, MiB"},
	}
	var names []string
	measured := make([][][]float64, len(peers)) // of each peer and row
	for i, p := range peers {
		names = append(names, p.name)
		measured[i] = make([][]float64, len(rows))
		if err := os.CopyFS(filepath.Join(dir, fmt.Sprint(i)), os.DirFS(data)); err != nil {
			return err
		}
	}
	// The first start is for a first stop: what it leaves counts for the next one.
	for round := range rounds + 1 {
		for i, p := range peers {
			log.Printf("restart, round %d of %d: %s", round, rounds, p.name)
			values, err := restart(p, filepath.Join(dir, fmt.Sprint(i)), config)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			for k, v := range values {
				if round > 0 {
					measured[i][k] = append(measured[i][k], v)
				}
			}
		}
	}
	for k := range rows {
		for i := range peers {
			rows[k].values = append(rows[k].values, proc.Pct(measured[i][k], .5))
		}
	}
	table(fmt.Sprintf("Restart with %d series and %d million samples in the head, medians of %d", headSeries+headChurned, headSeries*headSamples/1_000_000, rounds), names, rows)
	return nil
}

// restart starts a server, and stops it. The values are in the order of the rows.
func restart(p serverPeer, data, config string) ([]float64, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	s, err := proc.Start(p.command, map[string]string{"CONFIG": config, "DATA": data, "ADDR": address}, data+".log")
	if err != nil {
		return nil, err
	}
	peak := watchAnon(s.Pid)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	ready, err := s.WaitReady(ctx, "http://"+address+"/-/ready")
	if err != nil {
		text, _ := os.ReadFile(data + ".log")
		_, stopErr := s.Stop(syscall.SIGKILL, time.Second)
		return nil, errors.Join(fmt.Errorf("%w: %s", err, text), stopErr)
	}
	at, err := proc.Read(s.Pid)
	if err != nil {
		return nil, err
	}
	rest(5 * time.Second)
	later, err := proc.Read(s.Pid)
	if err != nil {
		return nil, err
	}
	most := peak()
	stop, err := s.Stop(syscall.SIGTERM, 10*time.Minute)
	ms := func(d time.Duration) float64 { return d.Seconds() * 1000 }
	return []float64{ms(stop), ms(ready), ms(stop + ready), at.CPU, proc.MiB(later.HWM), proc.MiB(most), proc.MiB(later.Anon)}, err
}

// watchAnon looks at the anonymous memory of a process, which the kernel keeps no maximum
// of, until peak is called.
func watchAnon(pid int) (peak func() int64) {
	stop, result := make(chan struct{}), make(chan int64)
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		var most int64
		for {
			select {
			case <-tick.C:
			case <-stop:
				result <- most
				return
			}
			if now, err := proc.Read(pid); err == nil {
				most = max(most, now.Anon)
			}
		}
	}()
	return func() int64 { close(stop); return <-result }
}

// writeHead writes a data directory in which everything is in the WAL, as it is after a
// kill.
func writeHead(dir string) error {
	o := tsdb.DefaultOptions()
	o.MinBlockDuration = (24 * time.Hour).Milliseconds()
	o.MaxBlockDuration = o.MinBlockDuration
	db, err := tsdb.Open(dir, nil, nil, o, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	rng := rand.New(rand.NewPCG(1, 1))
	refs := make([]storage.SeriesRef, headSeries)
	values := make([]float64, headSeries)
	at := time.Now().Add(-headSamples * headPeriod)
	for n := range headSamples {
		app := db.Appender(context.Background())
		add := func(ref storage.SeriesRef, name string, i int, value float64) storage.SeriesRef {
			ref, e := app.Append(ref, labels.FromStrings("__name__", name, "job", "node", "instance", fmt.Sprintf("host%03d:9100", i/100), "n", fmt.Sprint(i)), at.UnixMilli(), value)
			err = errors.Join(err, e)
			return ref
		}
		for i := range headSeries {
			switch i % 4 { // half of them change, as those of machines do
			case 0:
				values[i] += rng.Float64()
			case 1:
				values[i] += float64(rng.IntN(1000))
			}
			refs[i] = add(refs[i], "node_value", i, values[i])
		}
		for i := range headChurned {
			if i*10/headChurned == n*10/headSamples {
				add(0, "node_churned", i, 1)
			}
		}
		if err := errors.Join(err, app.Commit()); err != nil {
			return err
		}
		at = at.Add(headPeriod)
	}
	return nil
}
