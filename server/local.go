package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	checkdefs "github.com/clanmon/clanmon/discovery/checks"
	"github.com/clanmon/clanmon/server/config"
)

// localJobs serves the jobs of this process on sockets that only it can use, so
// that they can be scraped whatever TLS or authentication the ports ask for.
//
// The scrape manager finds a socket by the label __unix_socket__. A dialler of ours
// would do without sockets, and take those of all other targets away from it.
type localJobs struct {
	log     *slog.Logger
	jobs    []LocalJob
	sockets map[string]*net.UnixListener
}

// newLocalJobs listens for the jobs.
func newLocalJobs(jobs []LocalJob, log *slog.Logger) (*localJobs, error) {
	l := &localJobs{log: log, jobs: jobs, sockets: make(map[string]*net.UnixListener, len(jobs))}
	for _, j := range jobs {
		// The @ keeps it out of the file system: nothing to clean up after a crash.
		socket, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: "@clanmon/" + rand.Text() + "/" + j.Name})
		if err != nil {
			_ = l.Close()
			return nil, fmt.Errorf("socket of the local job %q: %w", j.Name, err)
		}
		l.sockets[j.Name] = socket
	}
	return l, nil
}

// configured are the jobs as the configuration needs them, that of the checks apart.
func (l *localJobs) configured() (jobs []config.LocalJob, probes config.LocalJob) {
	for _, j := range l.jobs {
		c := config.LocalJob{Name: j.Name, Port: j.Port, Socket: l.sockets[j.Name].Addr().String()}
		if j.Name == checkdefs.Pool {
			probes = c
		} else {
			jobs = append(jobs, c)
		}
	}
	return jobs, probes
}

// Close ends what newLocalJobs opened, for jobs that are not going to Run.
func (l *localJobs) Close() error {
	for _, s := range l.sockets {
		_ = s.Close() // at worst it was closed before
	}
	return nil
}

// ownConns accepts what this process connects, for such sockets have no
// permissions.
type ownConns struct{ *net.UnixListener }

// Accept implements net.Listener.
func (l ownConns) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil || fromThisProcess(c) {
			return c, err
		}
		_ = c.Close()
	}
}

func fromThisProcess(c *net.UnixConn) (yes bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	err = raw.Control(func(fd uintptr) {
		peer, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
		yes = err == nil && int(peer.Pid) == os.Getpid()
	})
	return yes && err == nil
}

// selfJob is the server's own metrics as a local job.
func (s *Server) selfJob(listenAddress string) LocalJob {
	_, text, _ := net.SplitHostPort(listenAddress)
	port, _ := strconv.Atoi(text) // only a label: 0 is as good as none
	return LocalJob{Name: config.SelfJob, Port: port, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.api.Metrics().ServeHTTP(w, r)
	})}
}

// dial is for those who ask targets outside of the scrape manager: addresses of
// local jobs end in this process, all others on the network.
func (l *localJobs) dial(ctx context.Context, network, address string) (net.Conn, error) {
	job, ok := config.LocalJobName(address)
	if !ok {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	socket, ok := l.sockets[job]
	if !ok {
		return nil, fmt.Errorf("this process does not serve the job %q", job)
	}
	return new(net.Dialer).DialContext(ctx, "unix", socket.Addr().String())
}

// Run serves until ctx ends.
func (l *localJobs) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, j := range l.jobs {
		mux := http.NewServeMux()
		mux.Handle("/metrics", j.Handler)
		srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
		wg.Go(func() {
			if err := srv.Serve(ownConns{l.sockets[j.Name]}); !errors.Is(err, http.ErrServerClosed) {
				l.log.Error("A local job can no longer be scraped", "job", j.Name, "err", err)
			}
		})
		defer srv.Close()
	}
	<-ctx.Done()
	return nil
}
