package main

import (
	"log/slog"
	"net/http"
	"sync"

	"github.com/clanmon/clanmon/cmd/internal/cli"
	"github.com/clanmon/clanmon/exporter"
	"github.com/clanmon/clanmon/server"
)

// localJobs are the metrics of this machine, for a server that nobody
// configured. The collectors are made when they are first asked for: a server
// with a configuration never does.
func localJobs(log *slog.Logger) []server.LocalJob {
	kinds := exporter.LocalKinds()
	handlers := sync.OnceValues(func() (map[string]http.Handler, error) {
		o := exporter.Options{
			DisableExporterMetrics: true, // the server's own /metrics has them
			Version:                cli.BuildVersion, Commit: cli.OrUnknown(cli.BuildCommit), ModuleVersion: cli.ModuleVersion,
			Logger: log,
		}
		for _, k := range kinds {
			o.Kinds = append(o.Kinds, k.Name)
		}
		return exporter.Handlers(o)
	})
	var jobs []server.LocalJob
	for _, k := range kinds {
		jobs = append(jobs, server.LocalJob{Name: k.Name, Port: k.Port, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h, err := handlers()
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			h[k.Name].ServeHTTP(w, r)
		})})
	}
	return jobs
}
