package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestVersionsOfPackages(t *testing.T) {
	at := time.Date(2026, 11, 28, 9, 5, 0, 0, time.UTC)
	for described, want := range map[string]string{
		"v1.2.3":              "1.2.3",
		"v1.3.0-rc.2":         "1.3.0~rc2",
		"v1.2.3-5-g0123abc":   "1.2.3+5.g0123abc",
		"v1.3.0-rc1-2-gabc":   "1.3.0~rc1+2.gabc",
		"0123abc":             "0~20261128090500.g0123abc",
		"0123abc-dirty":       "0~20261128090500.g0123abc",
		"v1.2.3-dirty":        "1.2.3",
		"nightly":             "0~20261128090500.gnightly",
		"v1.2.3-5-gabc-dirty": "1.2.3+5.gabc",
	} {
		require.Equal(t, want, packageVersion(described, at), described)
	}
}

func TestScriptsAreWhole(t *testing.T) {
	for _, p := range programs {
		for _, name := range []string{"postinst.sh", "prerm.sh", "postrm.sh"} {
			require.NotContains(t, string(script(name, p)), "<no value>")
		}
	}
}

func TestArchivesDependOnTheirFilesOnly(t *testing.T) {
	at := time.Unix(1, 0)
	a := tarOf([]tarred{{"b", []byte("x"), 0o644, 0}, {"a/", nil, 0o755, 7}}, at)
	b := tarOf([]tarred{{"a/", nil, 0o755, 7}, {"b", []byte("x"), 0o644, 0}}, at)
	require.Equal(t, a, b)
	require.Equal(t, zipped(a), zipped(b))
}

func TestRefusesWhatItDoesNotKnow(t *testing.T) {
	date := "-date=2026-11-28T00:00:00Z"
	require.ErrorContains(t, run([]string{"-date=yesterday"}), "-date")
	require.ErrorContains(t, run([]string{date, "-arch=sparc", "-out=" + t.TempDir()}), `"sparc"`)
	require.ErrorContains(t, run([]string{date, "-programs=clanmom", "-out=" + t.TempDir()}), `"clanmom"`)
	require.ErrorContains(t, run([]string{date, "-kinds=snap", "-out=" + t.TempDir()}), `"snap"`)
}
