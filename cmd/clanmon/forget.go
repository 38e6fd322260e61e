package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/alecthomas/kingpin/v2"

	"github.com/clanmon/clanmon/cmd/internal/cli"
)

// forgetCommand is "clanmon forget": a running server forgets a machine, or an
// exporter of it, that is gone for good.
type forgetCommand struct {
	env          cli.Env
	app          *kingpin.Application
	reach        cli.Reach
	machine, job string
}

func newForgetCommand(e cli.Env) cli.Command {
	c := &forgetCommand{env: e}
	c.app = cli.NewApp("clanmon forget", "Forget a discovered machine, or one of its exporters, that is gone for good. It becomes a target again if it responds. Exits with 1 if it would come back at once; the message says where to remove it.", e)
	c.app.Arg("machine", "Name of the machine.").Required().StringVar(&c.machine)
	c.app.Flag("job", "Job whose targets are forgotten. Defaults to all jobs of the machine.").PlaceHolder("JOB").StringVar(&c.job)
	c.reach.Flags(c.app.Flag, "server", "URL of the server.")
	return c
}

func (c *forgetCommand) Parse(args []string) error {
	if err := cli.ParseFlags(c.app, args); err != nil {
		return err
	}
	return c.reach.Check()
}

func (c *forgetCommand) Run(ctx context.Context) error {
	path, query := "/api/clanmon/v1/machines/"+url.PathEscape(c.machine), url.Values{}
	if c.job != "" {
		path += "/targets"
		query.Set("job", c.job)
	}
	var done struct {
		Forgotten []struct{ Machine, Job, Instance string }
	}
	if err := c.reach.Call(ctx, http.MethodDelete, path, query, nil, &done); err != nil {
		return err
	}
	for _, t := range done.Forgotten {
		fmt.Fprintf(c.env.Stdout, "forgotten: %s (job %s)\n", t.Instance, t.Job)
	}
	return nil
}
