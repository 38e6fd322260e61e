package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/alecthomas/kingpin/v2"
	commonconfig "github.com/prometheus/common/config"

	"github.com/clanmon/clanmon/cmd/internal/cli"
)

// forgetCommand is "clanmon forget": a running server forgets a machine, or an
// exporter of it, that is gone for good.
type forgetCommand struct {
	env          cli.Env
	app          *kingpin.Application
	machine, job string
	server       string
	clientFile   string
}

func newForgetCommand(e cli.Env) cli.Command {
	c := &forgetCommand{env: e}
	c.app = cli.NewApp("clanmon forget", "Forget a machine, or one of its exporters, that discovery found and that is gone for good. It is a target again once it responds again. Exit code 1 if it would come straight back: the message says where to remove it.", e)
	c.app.Arg("machine", "Name of the machine.").Required().StringVar(&c.machine)
	c.app.Flag("job", "Forget only the targets of this job.").PlaceHolder("JOB").StringVar(&c.job)
	c.app.Flag("server", "URL of the server.").Default("http://localhost:9090").StringVar(&c.server)
	c.app.Flag("http.config.file", "HTTP client configuration file for the connection to the server, in the format of promtool: TLS, basic_auth, …").PlaceHolder("FILE").StringVar(&c.clientFile)
	return c
}

func (c *forgetCommand) Parse(args []string) error { return cli.ParseFlags(c.app, args) }

func (c *forgetCommand) Run(ctx context.Context) error {
	to, err := url.JoinPath(c.server, "/api/clanmon/v1/machines", url.PathEscape(c.machine))
	if err != nil {
		return cli.UsageError("--server %q: %w", c.server, err)
	}
	if c.job != "" {
		to += "/targets?" + url.Values{"job": {c.job}}.Encode()
	}
	client := &http.Client{}
	if c.clientFile != "" {
		cfg, _, err := commonconfig.LoadHTTPConfigFile(c.clientFile)
		if err == nil {
			client, err = commonconfig.NewClientFromConfig(*cfg, "clanmon")
		}
		if err != nil {
			return cli.UsageError("--http.config.file %q: %w", c.clientFile, err)
		}
	}
	client.Timeout = time.Minute
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, to, nil)
	if err != nil {
		return cli.UsageError("--server: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("connect to the server (--server): %w", err)
	}
	defer resp.Body.Close()
	var answer struct {
		Status string `json:"status"`
		Error  string `json:"error"`
		Data   struct {
			Forgotten []struct{ Machine, Job, Instance string } `json:"forgotten"`
		} `json:"data"`
	}
	switch err := json.NewDecoder(resp.Body).Decode(&answer); {
	case err != nil || answer.Status == "":
		return fmt.Errorf("%s responds with %s, not as clanmon server does", c.server, resp.Status)
	case answer.Error != "":
		return errors.New(answer.Error)
	}
	for _, t := range answer.Data.Forgotten {
		fmt.Fprintf(c.env.Stdout, "forgotten: %s (job %s)\n", t.Instance, t.Job)
	}
	return nil
}
