package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/clanmon/clanmon/e2e/bench/proc"
	"github.com/clanmon/clanmon/e2e/browser/play"
	"github.com/clanmon/clanmon/e2e/simfleet/sim"
)

const (
	uiMachines = 1000
	uiPort     = 19320
)

// benchUI opens the pages of a simulated fleet in a real Chromium and prints how
// long they take. Nobody else has these pages: there is no ratio.
func benchUI(bin string) error {
	browser, err := filepath.Abs(filepath.Join("e2e", "browser"))
	if err != nil {
		return err
	}
	chromium, node := look("chromium"), look("node")
	if _, err := os.Stat(filepath.Join(browser, "node_modules", "playwright-core")); err != nil || chromium == "" || node == "" {
		return errors.New("the pages need chromium, nodejs and playwright-core; make test installs them")
	}
	dir, err := os.MkdirTemp("", "clanmon-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fleet, err := sim.New(uiMachines, 1)
	if err != nil {
		return err
	}
	inventory := filepath.Join(dir, "inventory.json")
	if err := fleet.WriteInventory(inventory, uiPort); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- fleet.Serve(ctx, uiPort) }()
	address, err := freeAddress()
	if err != nil {
		return err
	}
	s, err := proc.Start(bin+" server --discovery=inventory --discovery.inventory={INVENTORY} --storage.tsdb.path={DATA} --web.listen-address={ADDR}",
		map[string]string{"INVENTORY": inventory, "DATA": filepath.Join(dir, "data"), "ADDR": address}, filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer func() { _, _ = s.Stop(syscall.SIGKILL, time.Second) }()
	base := "http://" + address
	log.Printf("pages: until a fleet of %d has its records", uiMachines)
	for {
		select {
		case err := <-served:
			return fmt.Errorf("the fleet: %w", err)
		case <-ctx.Done():
			return errors.New("the fleet has no records")
		case <-time.After(time.Second):
		}
		if count(base, "machine:cpu_used:ratio") > uiMachines*9/10 {
			break
		}
	}
	up := slices.IndexFunc(fleet.Machines, func(m *sim.Machine) bool { return len(m.Wrong) == 0 })
	var results []map[string]float64
	for round := range 3 {
		log.Printf("pages: round %d of 3", round+1)
		report, err := play.Run(ctx, node, browser, "speed", map[string]any{"base": base, "chromium": chromium, "machine": fleet.Machines[up].Name}, nil)
		if err != nil {
			return err
		}
		if len(report.Problems) > 0 {
			return fmt.Errorf("the pages: %s", strings.Join(report.Problems, "; "))
		}
		results = append(results, report.Figures)
	}
	var rows []row
	for _, name := range slices.Sorted(maps.Keys(results[0])) {
		var all []float64
		for _, f := range results {
			all = append(all, f[name])
		}
		rows = append(rows, row{name, []float64{proc.Pct(all, .5)}})
	}
	table(fmt.Sprintf("Pages: %d machines, in Chromium, medians of 3", uiMachines), []string{"ms, or number"}, rows)
	return nil
}

// count is how many series a selector has; 0 if nobody answers.
func count(base, selector string) (n int) {
	res, err := http.Get(base + "/api/v1/query?query=" + url.QueryEscape("count("+selector+")"))
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	var a struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	if json.NewDecoder(res.Body).Decode(&a) == nil && len(a.Data.Result) == 1 {
		n, _ = strconv.Atoi(fmt.Sprint(a.Data.Result[0].Value[1]))
	}
	return n
}
