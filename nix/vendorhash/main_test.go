package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// With another hash than this, nobody can build the package.
func TestVendorHashIsCurrent(t *testing.T) {
	t.Chdir("../..")
	text, err := os.ReadFile(packageFile)
	require.NoError(t, err)
	m := line.FindSubmatch(text)
	require.NotNil(t, m, "%s has no line with vendorHash", packageFile)
	want, err := compute(".")
	require.NoError(t, err)
	require.Equal(t, want, string(m[1]), "run make vendor-hash")
}
