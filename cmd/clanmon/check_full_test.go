//go:build !remove_all_sd

package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/oracle"
)

// The files with which Prometheus tests its own loader; they name every service
// discovery, so a build that leaves some out refuses a few.
func TestCheckAgreesWithPromtoolOnUpstreamFiles(t *testing.T) {
	dir := oracle.ModuleDir(t, "github.com/prometheus/prometheus")
	configs, err := filepath.Glob(dir + "/config/testdata/*.yml")
	require.NoError(t, err)
	more, err := filepath.Glob(dir + "/cmd/promtool/testdata/*.yml")
	require.NoError(t, err)
	require.Greater(t, len(configs), 100, "where have upstream's test files gone?")
	// One process per file is what makes this slow, so they go in together;
	// each is reported on in turn.
	all := append(configs, more...)
	codes := map[int]bool{}
	for len(all) > 0 {
		n := min(60, len(all))
		codes[requireAgreement(t, "", append([]string{"config", "--syntax-only"}, all[:n]...)...).code] = true
		codes[requireAgreement(t, "", append([]string{"config"}, all[:n]...)...).code] = true
		codes[requireAgreement(t, "", append([]string{"rules"}, all[:n]...)...).code] = true
		all = all[n:]
	}
	require.True(t, codes[1], "some of these files are broken")
}
