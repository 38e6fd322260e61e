package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/model"

	"github.com/clanmon/clanmon/cmd/internal/cli"
	"github.com/clanmon/clanmon/internal/look"
)

// journalCommand is "clanmon journal": the journal of a unit of a machine, through a
// server.
type journalCommand struct {
	env   cli.Env
	app   *kingpin.Application
	reach cli.Reach

	machine, unit, since, until, priority, grep, boot string
	lines                                             int
	follow, json                                      bool
}

func newJournalCommand(e cli.Env) cli.Command {
	c := &journalCommand{env: e}
	c.app = cli.NewApp("clanmon journal", "Print the journal of a unit of a machine, which the server reads there. Needs --look on the server and on the machine's exporter, and the role operator.", e)
	a := c.app
	a.Arg("machine", "Name of the machine.").Required().StringVar(&c.machine)
	a.Arg("unit", "Name of the unit; without a type it is a service. Defaults to all messages.").StringVar(&c.unit)
	a.Flag("lines", "Number of lines.").Short('n').Default("200").IntVar(&c.lines)
	a.Flag("since", "Start: a duration such as 1h, RFC 3339, or Unix seconds.").PlaceHolder("TIME").StringVar(&c.since)
	a.Flag("until", "End, in the same forms.").PlaceHolder("TIME").StringVar(&c.until)
	a.Flag("priority", "Least important priority: 0 to 7, or emerg, alert, crit, err, warning, notice, info, debug.").Short('p').PlaceHolder("PRIORITY").StringVar(&c.priority)
	a.Flag("grep", "Regular expression (RE2) that messages match.").Short('g').PlaceHolder("PATTERN").StringVar(&c.grep)
	a.Flag("boot", "Boot: 0 is this one, -1 the one before it. Defaults to all.").Short('b').PlaceHolder("BOOT").StringVar(&c.boot)
	a.Flag("follow", "Continue with new lines.").Short('f').BoolVar(&c.follow)
	a.Flag("json", "Print each line as JSON, with the names of journald's fields.").BoolVar(&c.json)
	c.reach.Flags(a.Flag, "server", "URL of the server.")
	return c
}

func (c *journalCommand) Application() *kingpin.Application { return c.app }

func (c *journalCommand) Parse(args []string) error {
	if err := cli.ParseFlags(c.app, args); err != nil {
		return err
	}
	for flag, text := range map[string]*string{"since": &c.since, "until": &c.until} {
		if d, err := model.ParseDuration(*text); *text != "" && err == nil {
			*text = strconv.FormatInt(time.Now().Add(-time.Duration(d)).Unix(), 10)
		} else if *text != "" && c.follow && flag == "until" {
			return cli.UsageError("--follow and --until exclude each other")
		}
	}
	if c.unit != "" && !strings.Contains(c.unit, ".") {
		c.unit += ".service"
	}
	return c.reach.Check()
}

func (c *journalCommand) Run(ctx context.Context) error {
	client, to, err := c.reach.Client("/api/clanmon/v1/journal")
	if err != nil {
		return err
	}
	q := url.Values{"machine": {c.machine}, "lines": {strconv.Itoa(c.lines)}}
	for name, value := range map[string]string{"unit": c.unit, "since": c.since, "until": c.until, "priority": c.priority, "grep": c.grep, "boot": c.boot} {
		if value != "" {
			q.Set(name, value)
		}
	}
	get := func() (*http.Response, error) {
		to.RawQuery = q.Encode()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), nil)
		if err != nil {
			return nil, err
		}
		return c.reach.Do(client, req)
	}
	begin := time.Now()
	resp, err := get()
	if err != nil {
		return err
	}
	answer, err := c.answer(resp)
	if err != nil {
		return err
	}
	if answer.Limit == look.EndBytes || answer.Limit == look.EndTime {
		fmt.Fprintf(c.env.Stderr, "older lines are left out: the limit of %s was reached\n", answer.Limit)
	}
	if answer.Incomplete != "" {
		fmt.Fprintf(c.env.Stderr, "incomplete: %s\n", answer.Incomplete)
	}
	last := ""
	for _, e := range answer.Lines {
		c.print(e)
		last = cmp.Or(e.Cursor, last)
	}
	if !c.follow {
		return nil
	}
	q.Set("follow", "true")
	q.Del("lines")
	q.Del("until")
	for {
		if q.Del("since"); last == "" {
			q.Set("since", strconv.FormatInt(begin.Unix(), 10))
		} else {
			q.Set("after", last)
		}
		resp, err := get()
		if err == nil {
			err = c.events(resp, &last)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		select { // the server ends what lasts long
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil
		}
	}
}

// journalAnswer is what the server says.
type journalAnswer struct {
	Lines             []look.Entry
	Limit, Incomplete string
}

// answer reads an answer in JSON.
func (c *journalCommand) answer(resp *http.Response) (journalAnswer, error) {
	defer resp.Body.Close()
	var a struct {
		Status, Error string
		Data          journalAnswer
	}
	switch err := json.NewDecoder(resp.Body).Decode(&a); {
	case err != nil || a.Status == "":
		return journalAnswer{}, fmt.Errorf("%s responds with %s: this is not a clanmon server; set --server", c.reach.Server, resp.Status)
	case a.Error != "":
		return journalAnswer{}, errors.New(a.Error)
	}
	return a.Data, nil
}

// events prints lines as they come, until there are no more.
func (c *journalCommand) events(resp *http.Response, last *string) error {
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		_, err := c.answer(resp)
		return cmp.Or(err, errors.New("the server does not follow"))
	}
	defer resp.Body.Close()
	in, failed := bufio.NewReader(resp.Body), false
	for {
		line, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		data, ok := strings.CutPrefix(line, "data: ")
		if failed = failed || strings.HasPrefix(line, "event: end"); !ok {
			continue
		}
		var e struct {
			look.Entry
			Error string
		}
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return err
		}
		if failed {
			return errors.New(e.Error)
		}
		c.print(e.Entry)
		*last = cmp.Or(e.Cursor, *last)
	}
}

// print writes a line as journalctl does, or as JSON.
func (c *journalCommand) print(e look.Entry) {
	if c.json {
		_ = json.NewEncoder(c.env.Stdout).Encode(e)
		return
	}
	at := "-"
	if n, err := strconv.ParseInt(e.Time, 10, 64); err == nil {
		at = time.UnixMicro(n).Format("Jan _2 15:04:05")
	}
	who := cmp.Or(e.Identifier, "-")
	if e.PID != "" {
		who += "[" + e.PID + "]"
	}
	prefix := at + " " + who + ": "
	text := strings.ReplaceAll(e.Message, "\n", "\n"+strings.Repeat(" ", len(prefix)))
	if e.Length > 0 {
		text += fmt.Sprintf("… (%d bytes)", e.Length)
	}
	fmt.Fprintln(c.env.Stdout, prefix+text)
}
