package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/clanmon/clanmon/server/config"
	"github.com/clanmon/clanmon/server/internal/memnet"
)

// localJobs serves the jobs of this process on listeners in memory, so that
// they can be scraped whatever TLS or authentication the ports ask for.
type localJobs struct {
	jobs      []LocalJob
	listeners map[string]*memnet.Listener
}

func newLocalJobs(jobs []LocalJob) *localJobs {
	l := &localJobs{jobs: jobs, listeners: make(map[string]*memnet.Listener, len(jobs))}
	for _, j := range jobs {
		l.listeners[j.Name] = memnet.Listen(j.Name)
	}
	return l
}

// selfJob is the server's own metrics as a local job.
func (s *Server) selfJob(listenAddress string) LocalJob {
	_, text, _ := net.SplitHostPort(listenAddress)
	port, _ := strconv.Atoi(text) // only a label: 0 is as good as none
	return LocalJob{Name: config.SelfJob, Port: port, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.api.Metrics().ServeHTTP(w, r)
	})}
}

// dial is the dialler of the scrape manager: addresses of local jobs end in
// this process, all others on the network.
func (l *localJobs) dial(ctx context.Context, network, address string) (net.Conn, error) {
	job, ok := config.LocalJobName(address)
	if !ok {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	listener, ok := l.listeners[job]
	if !ok {
		return nil, fmt.Errorf("this process serves no job %q", job)
	}
	return listener.Dial(ctx, "")
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
			if err := srv.Serve(l.listeners[j.Name]); !errors.Is(err, http.ErrServerClosed) {
				panic(err) // a listener in memory does not fail
			}
		})
		defer srv.Close()
	}
	<-ctx.Done()
	return nil
}
