package cli

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/coreos/go-systemd/v22/activation"

	"github.com/clanmon/clanmon/exporter/look"
)

// lookIdle is how long "clanmon look" waits for another request: who reads a journal
// filters it and looks at the next unit, and a sandbox takes longer to set up than
// journalctl does.
const lookIdle = time.Minute

// LookCommand is "clanmon look": it responds to the requests on clanmon-look.socket,
// which starts it.
type LookCommand struct {
	env   Env
	app   *kingpin.Application
	units []string
}

// NewLookCommand returns the command. name is how a user calls it.
func NewLookCommand(e Env, name string) *LookCommand {
	c := &LookCommand{env: e}
	c.app = NewApp(name, "Respond to requests for the journal and the processes of this machine. clanmon-look.socket starts it for the exporter.", e)
	unitsFlag(c.app, &c.units)
	return c
}

// unitsFlag is --look.units, which the exporter has too.
func unitsFlag(app *kingpin.Application, units *[]string) {
	app.Flag("look.units", "Unit that may be looked at, or a pattern such as postgresql*. Repeatable. Defaults to all units.").PlaceHolder("UNIT").StringsVar(units)
}

// Application is where its flags are.
func (c *LookCommand) Application() *kingpin.Application { return c.app }

// Parse reads the flags.
func (c *LookCommand) Parse(args []string) error { return ParseFlags(c.app, args) }

// Run responds to requests until there are no more.
func (c *LookCommand) Run(ctx context.Context) error {
	runtime.GOMAXPROCS(1)
	passed, err := activation.Listeners()
	if err != nil {
		return err
	}
	if len(passed) == 1 {
		if l, ok := passed[0].(*net.UnixListener); ok {
			log := slog.New(slog.NewTextHandler(c.env.Stderr, nil))
			return look.Listen(ctx, l, lookIdle, c.units, log)
		}
	}
	return errors.New("there is no socket to listen on: run systemctl enable --now clanmon-look.socket, which starts this command")
}
