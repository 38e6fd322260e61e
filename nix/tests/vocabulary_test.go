package tests

import (
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/exporter"
	"github.com/clanmon/clanmon/server/ruler"
)

var update = flag.Bool("update", false, "write the generated files")

// What the modules have to know of the program is generated, so that a typo is
// found while Nix evaluates, and no list is kept twice.
func TestVocabularyIsCurrent(t *testing.T) {
	v := struct {
		Ports             map[string]int      `json:"ports"`
		Collectors        []string            `json:"collectors"`
		DefaultCollectors []string            `json:"defaultCollectors"`
		Words             map[string][]string `json:"words"`
		Rules             map[string][]string `json:"rules"`
	}{Ports: map[string]int{}, Words: exporter.CollectorWords(), Rules: map[string][]string{}}
	for _, k := range exporter.Kinds() {
		v.Ports[k.Name] = k.Port
	}
	for _, c := range exporter.Collectors() {
		v.Collectors = append(v.Collectors, c.Name)
		if c.Default {
			v.DefaultCollectors = append(v.DefaultCollectors, c.Name)
		}
	}
	shipped, err := ruler.NewShipped(ruler.ShippedOptions{})
	require.NoError(t, err)
	for _, r := range shipped.Info() {
		if r.Type != "alerting" {
			continue // has no settings, and others may be made of it
		}
		settings := []string{}
		for _, s := range r.Settings {
			settings = append(settings, s.Name)
		}
		v.Rules[r.Name] = settings
	}
	want, err := json.MarshalIndent(v, "", "  ")
	require.NoError(t, err)
	requireGenerated(t, "../vocabulary.json", string(want)+"\n")
}

// requireGenerated compares a file with what it should be, or writes it.
func requireGenerated(t *testing.T, file, want string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(want), 0o644))
	}
	got, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, want, string(got), "run make nix")
}
