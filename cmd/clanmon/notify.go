package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/promslog"

	"github.com/clanmon/clanmon/cmd/internal/cli"
	"github.com/clanmon/clanmon/server/delivery"
)

// notifyFlags defines where notifications go without an alertmanager.yml.
func notifyFlags(flag func(name, help string) *kingpin.FlagClause, o *delivery.Options) {
	flag("notify", "Receiver of notifications: ntfy://HOST/TOPIC, gotify://HOST, matrix://HOST/ROOM, telegram://CHAT_ID, discord://, pushover://USER_KEY, msteams://, mailto:ADDRESS, slack://, webhook+https://… Secrets are given as files: ?token_file=FILE. Repeatable.").
		PlaceHolder("URL").SetValue((*notifyURLs)(&o.Notify))
	flag("notify.max-per-minute", "Maximum number of notifications per minute for each --notify. Beyond it, one message says how many more alerts fire. 0 means no limit.").
		Default(strconv.Itoa(delivery.DefaultMaxPerMinute)).IntVar(&o.MaxPerMinute)
	flag("notify.heartbeat-url", "URL requested every minute while Watchdog fires (dead man's switch).").PlaceHolder("URL").StringVar(&o.HeartbeatURL)
	flag("notify.heartbeat-url-file", "Path to a file with the URL of --notify.heartbeat-url.").PlaceHolder("FILE").StringVar(&o.HeartbeatURLFile)
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
	server   cli.Reach
	receiver string
}

func newNotifyTestCommand(e cli.Env) cli.Command {
	c := &notifyTestCommand{env: e}
	c.app = cli.NewApp("clanmon notify-test", "Send a test notification through the running server and print how each receiver responded. With --notify or --alertmanager.config.file, test these settings without a server. Exits with 1 if a receiver failed.", e)
	c.server.Flags(c.app.Flag, "server", "URL of the server.")
	c.app.Flag("receiver", "Name of the receiver. Defaults to all.").PlaceHolder("NAME").StringVar(&c.receiver)
	c.app.Flag("alertmanager.config.file", "Alertmanager configuration file whose receivers are tested.").PlaceHolder("alertmanager.yml").StringVar(&c.opts.ConfigFile)
	notifyFlags(c.app.Flag, &c.opts)
	return c
}

func (c *notifyTestCommand) Parse(args []string) error {
	if err := cli.ParseFlags(c.app, args); err != nil {
		return err
	}
	return c.server.Check()
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
		return errors.New("no receiver has an integration: add --notify, or integrations to the receivers of alertmanager.yml")
	case failed:
		return &cli.ExitError{Code: 1}
	}
	return nil
}

// ask lets a server send the test.
func (c *notifyTestCommand) ask(ctx context.Context) (results []delivery.TestResult, err error) {
	body := map[string]string{"receiver": c.receiver}
	err = c.server.Call(ctx, http.MethodPost, "/api/clanmon/v1/receivers/test", nil, body, &results)
	return results, err
}
