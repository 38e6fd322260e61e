// Package backup copies the data directory of a server, running or stopped, so that the copy
// is consistent: copying a directory file by file while a server writes to it is not a backup.
//
// A running server serves a unix socket in its data directory, which only its own user and
// root can use. Asked there, it makes a snapshot below the data directory: blocks as hard
// links, the head as a block, and the state files. Take copies that snapshot to where it is
// wanted, so that the server needs no right to write there. The directory of a stopped server
// is copied as it is, under its lock.
package backup

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"golang.org/x/sys/unix"

	"github.com/clanmon/clanmon/server/internal/envelope"
)

const (
	// SocketName is the socket in the data directory.
	SocketName = "clanmon.sock"
	// snapshots is upstream's directory for snapshots; ours have a prefix of their own.
	snapshots, prefix = "snapshots", "clanmon-backup-"
	// walNote is what package store remembers of the WAL; without the WAL it is wrong.
	walNote = "clanmon-wal.json"
	// partial is behind the name of a copy that is not complete.
	partial = ".partial"
	// patience is how long a client waits for the snapshot of another one to be removed.
	patience = 10 * time.Second
	// copyLimit is how long a snapshot is kept for a client that copies it.
	copyLimit = 6 * time.Hour
)

// answer is what the server says on the socket.
type answer struct {
	Dir   string `json:"dir,omitempty"`
	Error string `json:"error,omitempty"`
}

// Server is the side of a running server.
type Server struct {
	// Dir is the data directory.
	Dir string
	// Snapshot writes the series to an existing empty directory.
	Snapshot func(dir string) error
	Logger   *slog.Logger
}

// Run serves the socket until ctx ends. The data directory has to be locked by this process.
// Where no socket can be made, it logs that and only waits: nothing else depends on it.
func (s *Server) Run(ctx context.Context) error {
	stale, _ := filepath.Glob(filepath.Join(s.Dir, snapshots, prefix+"*"))
	for _, dir := range stale { // of a server that was killed
		_ = os.RemoveAll(dir)
	}
	l, err := listen(s.Dir)
	if err != nil {
		s.Logger.Warn("A running server's data cannot be copied by clanmon snapshot: its socket could not be made", "file", filepath.Join(s.Dir, SocketName), "err", err)
		<-ctx.Done()
		return nil
	}
	defer os.Remove(filepath.Join(s.Dir, SocketName))
	mux := http.NewServeMux()
	one := make(chan struct{}, 1)
	mux.HandleFunc("POST /snapshot", func(w http.ResponseWriter, r *http.Request) {
		select {
		case one <- struct{}{}:
			defer func() { <-one }()
			s.serve(w, r)
		case <-r.Context().Done():
		case <-time.After(patience): // that of the copy before is removed sooner
			envelope.Write(w, http.StatusOK, answer{Error: "another snapshot is being copied; try again when it is done"})
		}
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	one <- struct{}{} // the last snapshot is removed
	return nil
}

// serve makes a snapshot and keeps it until the client hangs up.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	begin := time.Now()
	dir := filepath.Join(s.Dir, snapshots, prefix+rand.Text())
	defer func() {
		_ = os.RemoveAll(dir)
		_ = os.Remove(filepath.Dir(dir)) // if nothing else is in it
	}()
	onlyState := r.FormValue("only-state") == "true"
	if err := s.make(dir, onlyState); err != nil {
		s.Logger.Error("Making a snapshot for clanmon snapshot failed", "err", err)
		envelope.Write(w, http.StatusOK, answer{Error: err.Error()})
		return
	}
	s.Logger.Info("Made a snapshot for clanmon snapshot", "only_state", onlyState, "duration", time.Since(begin))
	envelope.Write(w, http.StatusOK, answer{Dir: filepath.Join(snapshots, filepath.Base(dir))})
	_ = http.NewResponseController(w).Flush()
	select {
	case <-r.Context().Done():
	case <-time.After(copyLimit):
	}
}

func (s *Server) make(dir string, onlyState bool) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if !onlyState {
		if err := s.Snapshot(dir); err != nil {
			return fmt.Errorf("snapshot of the series: %w", err)
		}
	}
	from, err := real(s.Dir)
	if err == nil {
		_, err = transfer(from, dir, isState, false)
	}
	return err
}

// Result says what was copied.
type Result struct {
	// Running is that a running server made the snapshot.
	Running        bool
	Linked, Copied int
	Bytes          int64 // of what was copied
}

// Take copies the data directory dir to dest, which must not exist or be empty. dest is
// complete when it is there under its name. onlyState leaves the series out: silences, the
// notification log and what discovery remembers stay.
func Take(ctx context.Context, dir, dest string, onlyState bool) (Result, error) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return Result{}, fmt.Errorf("data directory %q: %w", dir, errors.Join(err, notADirectory(err)))
	}
	if err := free(dir, dest); err != nil {
		return Result{}, err
	}
	dir, err := real(dir) // a walk does not follow a link at its root
	if err != nil {
		return Result{}, err
	}
	temporary := filepath.Clean(dest) + partial
	if err := os.RemoveAll(temporary); err != nil { // of a copy that was interrupted
		return Result{}, err
	}
	if err := os.MkdirAll(temporary, 0o700); err != nil {
		return Result{}, err
	}
	result, err := take(ctx, dir, temporary, onlyState)
	if err == nil {
		err = syncTree(temporary)
	}
	if err == nil {
		err = os.Rename(temporary, filepath.Clean(dest))
	}
	if err != nil {
		_ = os.RemoveAll(temporary)
	}
	return result, err
}

func notADirectory(err error) error {
	if err == nil {
		return syscall.ENOTDIR
	}
	return nil
}

// free refuses a destination that would overwrite something, or copy itself.
func free(dir, dest string) error {
	entries, err := os.ReadDir(dest)
	switch {
	case err == nil && isMountPoint(dest):
		return fmt.Errorf("destination %q is a mount point: name a directory in it that does not exist yet", dest)
	case err == nil && len(entries) > 0:
		return fmt.Errorf("destination %q is not empty: name a directory that does not exist yet", dest)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("destination %q: %w", dest, err)
	}
	from, err := real(dir)
	if err != nil {
		return err
	}
	to, err := real(filepath.Dir(filepath.Clean(dest)))
	if err != nil {
		return fmt.Errorf("destination %q: %w", dest, err)
	}
	if rel, err := filepath.Rel(from, to); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
		return fmt.Errorf("destination %q is inside the data directory %q: name one outside of it", dest, dir)
	}
	return nil
}

// isMountPoint reports whether a directory is on another file system than its parent: it
// cannot be replaced by a complete copy.
func isMountPoint(dir string) bool {
	var own, parent unix.Stat_t
	return unix.Stat(dir, &own) == nil && unix.Stat(filepath.Dir(filepath.Clean(dir)), &parent) == nil && own.Dev != parent.Dev
}

func real(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(path)
}

func take(ctx context.Context, dir, temporary string, onlyState bool) (Result, error) {
	conn, err := dial(ctx, dir)
	if err == nil {
		defer conn.Close()
		result, err := fromRunning(ctx, conn, dir, temporary, onlyState)
		result.Running = true
		return result, err
	}
	if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED) {
		return Result{}, fmt.Errorf("connect to the server at %s: %w", filepath.Join(dir, SocketName), err)
	}
	lock, err := tsdbutil.NewDirLocker(dir, "tsdb", slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return Result{}, err
	}
	if err := lock.Lock(); err != nil {
		if errors.Is(err, syscall.EAGAIN) {
			return Result{}, fmt.Errorf("data directory %q is in use by a process that has no %s: a server that is still starting, an older clanmon or a Prometheus; wait, or stop it", dir, SocketName)
		}
		return Result{}, err
	}
	defer lock.Release()
	wanted := isData
	if onlyState {
		wanted = isState
	}
	return transfer(dir, temporary, wanted, true)
}

// fromRunning has the server make a snapshot, and keeps the connection open, and with it the
// snapshot, until it is copied.
func fromRunning(ctx context.Context, conn net.Conn, dir, temporary string, onlyState bool) (Result, error) {
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return conn, nil },
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://clanmon/snapshot?"+url.Values{"only-state": {strconv.FormatBool(onlyState)}}.Encode(), nil)
	if err != nil {
		return Result{}, err
	}
	res, err := client.Do(req)
	if err != nil {
		return Result{}, err
	}
	defer res.Body.Close()
	var a answer
	if err := json.NewDecoder(res.Body).Decode(&a); err != nil {
		return Result{}, fmt.Errorf("the server's answer: %w", err)
	}
	if a.Error != "" {
		return Result{}, fmt.Errorf("the server at %s: %s", filepath.Join(dir, SocketName), a.Error)
	}
	if !strings.HasPrefix(a.Dir, filepath.Join(snapshots, prefix)) || filepath.Clean(a.Dir) != a.Dir {
		return Result{}, fmt.Errorf("the server answered with the directory %q, which is not one of its snapshots", a.Dir)
	}
	result, err := transfer(filepath.Join(dir, a.Dir), temporary, func(string, fs.DirEntry) bool { return true }, true)
	if errors.Is(err, os.ErrNotExist) {
		err = errors.New("the server stopped while its snapshot was being copied; try again")
	}
	return result, err
}

// isData tells of a name at the top of a data directory whether it is to be kept; what only
// matters to a running process is not.
func isData(name string, d fs.DirEntry) bool {
	switch name {
	case "lock", SocketName, "queries.active", snapshots, "damaged", "lost+found":
		return false
	}
	return d.IsDir() && !strings.Contains(name, ".tmp") || name == walNote || isState(name, d)
}

// isState tells the same of files and directories of state, which are written whole or not at
// all. All that is not upstream's is state, so that a new file of ours is not forgotten.
func isState(name string, d fs.DirEntry) bool {
	switch name {
	case "lock", SocketName, "queries.active", snapshots, "damaged", "lost+found", "wal", "wbl", "chunks_head", walNote:
		return false
	}
	_, err := ulid.ParseStrict(name)
	return err != nil && !strings.Contains(name, ".tmp") && !strings.Contains(name, ".new-") && !strings.HasPrefix(name, "chunk_snapshot.")
}

// transfer copies what is wanted at the top of from, and all below it, to the existing
// directory to. Files that never change once they are written, those of blocks, are hard
// links where link is true and the file system can. Owners and modes are kept as far as this process may.
func transfer(from, to string, wanted func(string, fs.DirEntry) bool, link bool) (r Result, err error) {
	err = filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil || rel == "." {
			return err
		}
		top, _, below := strings.Cut(rel, string(filepath.Separator))
		if !below && !wanted(top, d) {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		target := filepath.Join(to, rel)
		info, err := d.Info()
		if errors.Is(err, os.ErrNotExist) && !link {
			return nil // a running server replaces files of state
		}
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			if err := os.Mkdir(target, info.Mode().Perm()|0o700); err != nil && !errors.Is(err, os.ErrExist) {
				return err
			}
		case d.Type()&fs.ModeSymlink != 0 && !below:
			return fmt.Errorf("%s is a link: what it leads to would be missing in the copy", path)
		case !d.Type().IsRegular():
			return nil // a socket
		default:
			if _, err := ulid.ParseStrict(top); err == nil && link && os.Link(path, target) == nil {
				r.Linked++
				return nil
			}
			n, err := copyFile(path, target, info)
			if errors.Is(err, os.ErrNotExist) && !link {
				return nil
			}
			if err != nil {
				return err
			}
			r.Copied, r.Bytes = r.Copied+1, r.Bytes+n
		}
		if owner, ok := info.Sys().(*syscall.Stat_t); ok {
			_ = os.Lchown(target, int(owner.Uid), int(owner.Gid)) // only root may
		}
		return nil
	})
	return r, err
}

func copyFile(from, to string, info fs.FileInfo) (int64, error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(out, in)
	return n, errors.Join(err, out.Close())
}

// syncTree makes everything on the file system of dir durable.
func syncTree(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.Syncfs(int(d.Fd()))
}

// throughDir calls use with a short path of the socket in dir: the path of a socket has at
// most 107 bytes, that of a data directory may be longer.
func throughDir(dir string, use func(path func(name string) string) error) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return use(func(name string) string { return fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), name) })
}

// listen makes the socket. It gets its name once nobody else can use it.
func listen(dir string) (l *net.UnixListener, err error) {
	err = throughDir(dir, func(path func(string) string) error {
		temporary := path(SocketName + ".new-" + rand.Text()[:8])
		if l, err = net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: temporary}); err != nil {
			return err
		}
		l.SetUnlinkOnClose(false)
		if err = os.Chmod(temporary, 0o600); err == nil {
			err = os.Rename(temporary, path(SocketName))
		}
		if err != nil {
			l.Close()
			os.Remove(temporary)
		}
		return err
	})
	return l, err
}

func dial(ctx context.Context, dir string) (c net.Conn, err error) {
	err = throughDir(dir, func(path func(string) string) error {
		c, err = new(net.Dialer).DialContext(ctx, "unix", path(SocketName))
		return err
	})
	return c, err
}
