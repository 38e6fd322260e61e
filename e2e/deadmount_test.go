package e2e

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/clanmon/clanmon/e2e/harness"
)

// deadMount mounts a file system that never answers, as of an NFS server that is gone,
// for this test and the processes that it starts from here on.
func deadMount(t *testing.T, dir string) {
	t.Helper()
	harness.Root(t)
	runtime.LockOSThread() // until the test ends; the namespace is the thread's
	require.NoError(t, unix.Unshare(unix.CLONE_NEWNS|unix.CLONE_FS))
	require.NoError(t, unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	fuse, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = unix.Unmount(dir, unix.MNT_DETACH)
		unix.Close(fuse) // lets go of whoever waits
	})
	require.NoError(t, unix.Mount("deadserver:/export", dir, "fuse.nfsish", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fuse)))
	request := make([]byte, 1<<16)
	_, err = unix.Read(fuse, request)
	require.NoError(t, err)
	// The answer to INIT: header, version 7.31, and nothing that is on.
	answer := make([]byte, 16+64)
	binary.NativeEndian.PutUint32(answer, uint32(len(answer)))
	copy(answer[8:16], request[8:16])
	binary.NativeEndian.PutUint32(answer[16:], 7)
	binary.NativeEndian.PutUint32(answer[20:], 31)
	_, err = unix.Write(fuse, answer)
	require.NoError(t, err)
}

// One dead mount costs the metrics of itself, and a text file directory on it those in
// it: at the first scrape the file systems too, as with node_exporter.
func TestDeadMount(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	dead, texts, proc := filepath.Join(dir, "dead"), filepath.Join(dir, "texts"), filepath.Join(dir, "proc")
	for _, d := range []string{dead, texts, proc} {
		require.NoError(t, os.Mkdir(d, 0o755))
	}
	harness.WriteFile(t, texts, "backup.prom", "backup_done 1\n")
	deadMount(t, dead)
	// node_exporter reads the mounts of process 1, which are not ours, or else its own.
	require.NoError(t, os.Symlink("/proc/self", filepath.Join(proc, "self")))
	e := harness.StartKinds(t, []string{"node"}, nil, "--collectors=filesystem,textfile", "--path.procfs="+proc,
		"--collector.textfile.directory="+dead, "--collector.textfile.directory="+texts)
	const timeout = 7 * time.Second // more than node_exporter gives a mount
	for scrape := range 3 {
		text, took := e.Get("node", "/metrics", timeout)
		require.Less(t, took, 4*timeout)
		require.Contains(t, text, "\nbackup_done 1\n")
		require.Contains(t, text, "\nnode_textfile_scrape_error 1\n")
		require.Contains(t, text, `node_scrape_collector_success{collector="textfile"} 0`)
		want := 1.0
		if scrape == 0 {
			want = 0
		}
		ok, err := harness.MetricIn(text, `node_scrape_collector_success{collector="filesystem"}`)
		require.NoError(t, err)
		require.Equal(t, want, ok)
		require.Equal(t, want == 1, strings.Contains(text, `node_filesystem_size_bytes{device=`), "scrape %d", scrape)
		require.Equal(t, want == 1, strings.Contains(text, fmt.Sprintf("mountpoint=%q} 1", dead)), "of the dead one: device_error")
	}
	require.Len(t, linesWith(e.Log(), `msg="Collector failed"`), 2, e.Log())
}
