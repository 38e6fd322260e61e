package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/promslog"

	"github.com/clanmon/clanmon/cmd/internal/cli"
	"github.com/clanmon/clanmon/server/delivery"
)

// notifyFlags defines where notifications go without an alertmanager.yml.
func notifyFlags(flag func(name, help string) *kingpin.FlagClause, o *delivery.Options) {
	flag("notify", "Send alerts there: ntfy://HOST/TOPIC, gotify://HOST, matrix://HOST/ROOM, mailto:ADDRESS, slack://, webhook+https://…; secrets by ?token_file=FILE. Repeatable.").
		PlaceHolder("URL").SetValue((*notifyURLs)(&o.Notify))
	flag("notify.max-per-minute", "Maximum number of notifications that each --notify gets in a minute; beyond it, one says how many more alerts fire. 0 sets no limit.").
		Default(strconv.Itoa(delivery.DefaultMaxPerMinute)).IntVar(&o.MaxPerMinute)
	flag("notify.heartbeat-url", "Ask this address every minute for as long as alerts are evaluated and delivered.").PlaceHolder("URL").StringVar(&o.HeartbeatURL)
	flag("notify.heartbeat-url-file", "The same, with the address in a file.").PlaceHolder("FILE").StringVar(&o.HeartbeatURLFile)
}

// notifyURLs is a repeatable flag of places to notify.
type notifyURLs []delivery.NotifyURL

func (n *notifyURLs) IsCumulative() bool { return true }

func (n *notifyURLs) String() string {
	var all []string
	for _, u := range *n {
		all = append(all, u.String())
	}
	return strings.Join(all, ",")
}

func (n *notifyURLs) Set(s string) error {
	u, err := delivery.ParseNotifyURL(s)
	if err != nil {
		return err
	}
	*n = append(*n, u)
	return nil
}

// notifyTestCommand is "clanmon notify-test": it sends a test notification, by
// the server that runs or by settings that are about to be used.
type notifyTestCommand struct {
	env      cli.Env
	app      *kingpin.Application
	opts     delivery.Options
	server   reach
	receiver string
}

func newNotifyTestCommand(e cli.Env) cli.Command {
	c := &notifyTestCommand{env: e}
	c.app = cli.NewApp("clanmon notify-test", "Send a test notification and report what the receivers answer: by the server that runs, or with --notify or --alertmanager.config.file by these settings. Exit code 1 if a receiver did not take it.", e)
	c.server.flags(c.app.Flag, "server", "The server to ask.")
	c.app.Flag("receiver", "Name of the receiver; all of them by default.").PlaceHolder("NAME").StringVar(&c.receiver)
	c.app.Flag("alertmanager.config.file", "Test the receivers of this file.").PlaceHolder("alertmanager.yml").StringVar(&c.opts.ConfigFile)
	notifyFlags(c.app.Flag, &c.opts)
	return c
}

func (c *notifyTestCommand) Parse(args []string) error {
	if err := cli.ParseFlags(c.app, args); err != nil {
		return err
	}
	return c.server.check()
}

func (c *notifyTestCommand) Run(ctx context.Context) error {
	var results []delivery.TestResult
	var err error
	if c.opts.ConfigFile != "" || len(c.opts.Notify) > 0 || c.opts.HeartbeatURL != "" || c.opts.HeartbeatURLFile != "" {
		c.opts.Logger = promslog.New(&promslog.Config{Writer: c.env.Stderr})
		results, err = delivery.TestConfig(ctx, c.opts, c.receiver)
	} else {
		results, err = c.ask(ctx)
	}
	if err != nil {
		return err
	}
	failed := false
	for _, r := range results {
		answer := "ok"
		if !r.OK {
			answer, failed = r.Error, true
		}
		fmt.Fprintf(c.env.Stdout, "%s %s: %s (%.1f s)\n", r.Receiver, r.Integration, answer, r.Seconds)
	}
	switch {
	case len(results) == 0:
		return errors.New("no receiver has anything to send by")
	case failed:
		return &cli.ExitError{Code: 1}
	}
	return nil
}

// ask lets a server send the test.
func (c *notifyTestCommand) ask(ctx context.Context) ([]delivery.TestResult, error) {
	client, to, err := c.server.client("/api/clanmon/v1/receivers/test")
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(map[string]string{"receiver": c.receiver})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	client.Timeout = time.Minute
	resp, err := c.server.do(client, req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		Error string                `json:"error"`
		Data  []delivery.TestResult `json:"data"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, fmt.Errorf("%s answers %s, not as clanmon server does", to, resp.Status)
	}
	if answer.Error != "" {
		return nil, errors.New(answer.Error)
	}
	return answer.Data, nil
}
