package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/model"
)

// EventCommand adds a note to the changes that a server shows.
type EventCommand struct {
	env   Env
	app   *kingpin.Application
	reach Reach
	note  struct {
		Text     string   `json:"text"`
		Machines []string `json:"machines,omitempty"`
		By       string   `json:"by,omitempty"`
		Time     float64  `json:"time,omitempty"`
	}
	time  string
	retry time.Duration
}

// NewEventCommand returns the command; called is what help calls it.
func NewEventCommand(e Env, called string) *EventCommand {
	c := &EventCommand{env: e}
	c.app = NewApp(called, "Add a note to the changes that a server shows: on its page Changes, in charts, and as an annotation for Grafana. Needs the role operator.", e)
	c.app.Arg("text", "What happened.").Required().StringVar(&c.note.Text)
	c.app.Flag("machine", "Machine that it happened to. Repeatable. Defaults to none in particular.").PlaceHolder("NAME").StringsVar(&c.note.Machines)
	c.app.Flag("time", "When it happened: a duration ago such as 1h, or RFC 3339. Defaults to now.").PlaceHolder("TIME").StringVar(&c.time)
	c.app.Flag("by", "Author, if the server does not know who sends the request.").PlaceHolder("NAME").StringVar(&c.note.By)
	c.app.Flag("retry", "Maximum time to retry while the server cannot be reached.").Default("0s").DurationVar(&c.retry)
	c.reach.Flags(c.app.Flag, "server", "URL of the server.")
	c.app.GetFlag("server").Envar("CLANMON_SERVER")
	return c
}

// Application is for help, completion and the manual page.
func (c *EventCommand) Application() *kingpin.Application { return c.app }

// Parse implements Command.
func (c *EventCommand) Parse(args []string) error {
	if err := ParseFlags(c.app, args); err != nil {
		return err
	}
	if c.time != "" {
		t, err := time.Parse(time.RFC3339, c.time)
		if d, notAgo := model.ParseDuration(c.time); notAgo == nil {
			t, err = time.Now().Add(-time.Duration(d)), nil
		}
		if err != nil {
			return UsageError("--time %q: use a duration such as 1h, or a time such as 2026-11-28T12:00:00Z", c.time)
		}
		c.note.Time = float64(t.UnixMilli()) / 1e3
	}
	return c.reach.Check()
}

// Run implements Command.
func (c *EventCommand) Run(ctx context.Context) error {
	var added struct{ Unknown []string }
	begin := time.Now()
	for pause := pauseMin; ; pause = min(2*pause, pauseMax) {
		err := c.reach.Call(ctx, http.MethodPost, "/api/clanmon/v1/events", nil, c.note, &added)
		if err == nil {
			break
		}
		if _, refused := errors.AsType[refusal](err); refused || time.Since(begin)+pause > c.retry {
			return err
		}
		if c.note.Time == 0 { // what is sent late did not happen then
			c.note.Time = float64(begin.UnixMilli()) / 1e3
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
	for _, m := range added.Unknown {
		fmt.Fprintf(c.env.Stderr, "%s: the note is added, but the server knows no machine %q\n", c.app.Name, m)
	}
	return nil
}
