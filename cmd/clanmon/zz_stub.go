package main

import "log/slog"
import "github.com/clanmon/clanmon/server"

func newExporterCommand(e env) command                          { return nil }
func newCheckCommand(e env) command                             { return nil }
func localJobs(string, *slog.Logger) ([]server.LocalJob, error) { return nil, nil }
