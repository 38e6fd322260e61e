package main

import (
	"context"
	"fmt"

	"github.com/alecthomas/kingpin/v2"
	"github.com/alecthomas/units"

	"github.com/clanmon/clanmon/cmd/internal/cli"
	"github.com/clanmon/clanmon/server/store/backup"
)

// snapshotCommand is "clanmon snapshot": a consistent copy of a data directory, for backups.
type snapshotCommand struct {
	env       cli.Env
	app       *kingpin.Application
	dest, dir string
	onlyState bool
}

func newSnapshotCommand(e cli.Env) cli.Command {
	c := &snapshotCommand{env: e}
	c.app = cli.NewApp("clanmon snapshot", "Copy the data directory of a running or stopped server. Blocks are hard-linked where DEST is on the same file system. Run it as root or as the server's user. To restore, stop the server and put the copy in place of its data directory.", e)
	c.app.Arg("DEST", "Directory to copy to. It must not exist or be empty.").Required().StringVar(&c.dest)
	c.app.Flag("storage.tsdb.path", "Base path for metrics storage.").Default("data/").StringVar(&c.dir)
	c.app.Flag("only-state", "Copy only the state, such as silences, boards and notes, without series.").BoolVar(&c.onlyState)
	return c
}

func (c *snapshotCommand) Parse(args []string) error { return cli.ParseFlags(c.app, args) }

func (c *snapshotCommand) Run(ctx context.Context) error {
	r, err := backup.Take(ctx, c.dir, c.dest, c.onlyState)
	if err != nil {
		return err
	}
	state := "stopped"
	if r.Running {
		state = "running"
	}
	fmt.Fprintf(c.env.Stdout, "%s: copy of the %s server's data in %s: %d files linked, %d copied (%s)\n",
		c.dest, state, c.dir, r.Linked, r.Copied, units.Base2Bytes(r.Bytes).Round(1))
	return nil
}
