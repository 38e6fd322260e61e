package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReadOnlyParts(t *testing.T) {
	const maps = `00400000-0195a000 r-xp 00000000 fe:01 4711                               /opt/my programs/clanmon
0195a000-01d4f000 r--p 0155a000 fe:01 4711                               /opt/my programs/clanmon
01d4f000-01e7c000 rw-p 0194f000 fe:01 4711                               /opt/my programs/clanmon
01e7c000-03ee4000 rw-p 00000000 00:00 0 
7f9f93820000-7f9f93c00000 r--p 00000000 fe:01 4712                       /usr/lib/opt/my programs/clanmon
7ffc5c299000-7ffc5c2ba000 rw-p 00000000 00:00 0                          [stack]
`
	parts, err := readOnlyParts(strings.NewReader(maps), "/opt/my programs/clanmon")
	require.NoError(t, err)
	require.Equal(t, []part{{0x400000, 0x195a000}, {0x195a000, 0x1d4f000}}, parts)
}

// What is taken out comes back when it is used: this test goes on running.
func TestUnmapProgram(t *testing.T) {
	program, err := os.Readlink("/proc/self/exe")
	require.NoError(t, err)
	maps, err := os.ReadFile("/proc/self/maps")
	require.NoError(t, err)
	parts, err := readOnlyParts(bytes.NewReader(maps), program)
	require.NoError(t, err)
	require.NotEmpty(t, parts)
	memory, err := os.Open("/proc/self/mem")
	require.NoError(t, err)
	defer memory.Close()
	for _, p := range parts { // the kernel maps what is read here
		_, err := io.Copy(io.Discard, io.NewSectionReader(memory, int64(p.from), int64(p.to-p.from)))
		require.NoError(t, err)
	}
	before := filePages(t)
	require.NoError(t, unmapProgram())
	require.Less(t, filePages(t), before)
}

// filePages is the size of what is mapped of files, in kB.
func filePages(t *testing.T) (kB int) {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(status), "RssFile:")
	require.True(t, found)
	_, err = fmt.Sscan(rest, &kB)
	require.NoError(t, err)
	return kB
}
