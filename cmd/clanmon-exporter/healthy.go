package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/clanmon/clanmon/cmd/internal/cli"
)

// healthyCommand is "clanmon-exporter healthy", for health checks in containers that have
// no other program.
type healthyCommand struct {
	env cli.Env
	app *kingpin.Application
	url string
}

func newHealthyCommand(e cli.Env) *healthyCommand {
	c := &healthyCommand{env: e}
	c.app = cli.NewApp(program+" healthy", "Check that an exporter responds. Exit code 1 if it does not.", e)
	c.app.Flag("url", "The URL of the exporter. Its landing page costs nothing; /metrics is a scrape.").Default("http://localhost:9100").StringVar(&c.url)
	return c
}

func (c *healthyCommand) Parse(args []string) error { return cli.ParseFlags(c.app, args) }

func (c *healthyCommand) Run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return cli.UsageError("--url: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s responds with %s", c.url, resp.Status)
	}
	return nil
}
