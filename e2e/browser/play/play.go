// Package play runs one scenario of e2e/browser in a real Chromium, for the tests
// of the pages and for the benchmark. It runs Node, and nothing after it returns.
package play

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
)

// Report is what a scenario found: problems are what a person would complain of.
type Report struct {
	Problems []string
	Figures  map[string]float64
}

// Run plays a scenario until ctx ends. dir is e2e/browser with its node_modules,
// node is the program; options go to the scenario, env is that of the process, its
// own if nil. A scenario with problems is no error.
func Run(ctx context.Context, node, dir, scenario string, options map[string]any, env []string) (Report, error) {
	var report Report
	stdin, err := json.Marshal(options)
	if err != nil {
		return report, err
	}
	cmd := exec.CommandContext(ctx, node, "run.mjs", scenario)
	cmd.Dir, cmd.Stdin, cmd.Env = dir, bytes.NewReader(stdin), env
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if err != nil {
		return report, fmt.Errorf("%s: %w: %s %s", scenario, err, stdout, &stderr)
	}
	if err := json.Unmarshal(stdout, &report); err != nil {
		return report, fmt.Errorf("%s: %w: %s", scenario, err, stdout)
	}
	return report, nil
}
