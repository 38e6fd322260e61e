package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kingpin/v2"

	"github.com/clanmon/clanmon/cmd/internal/cli"
	"github.com/clanmon/clanmon/server/boards"
)

// boardCommand is "clanmon board": it turns dashboards of Grafana into boards and back, without a
// server.
type boardCommand struct {
	env     cli.Env
	app     *kingpin.Application
	file    string
	convert func(text []byte, report io.Writer) ([]byte, error)
}

func newBoardCommand(e cli.Env) cli.Command {
	c := &boardCommand{env: e}
	c.app = cli.NewApp("clanmon board", "Convert boards. The result is written to standard output.", e)
	c.sub("import", "Convert a dashboard of Grafana to a board. What cannot be converted is listed on standard error.", importBoard)
	c.sub("export", "Convert a board to a dashboard of Grafana.", exportBoard)
	return c
}

func (c *boardCommand) sub(name, help string, convert func([]byte, io.Writer) ([]byte, error)) {
	cmd := c.app.Command(name, help).Action(func(*kingpin.ParseContext) error {
		c.convert = convert
		return nil
	})
	cmd.Arg("file", "Path to the file.").Required().ExistingFileVar(&c.file)
}

func (c *boardCommand) Parse(args []string) error { return cli.ParseFlags(c.app, args) }

func (c *boardCommand) Run(context.Context) error {
	text, err := os.ReadFile(c.file)
	if err != nil {
		return err
	}
	out, err := c.convert(text, c.env.Stderr)
	if err != nil {
		return fmt.Errorf("%s: %w", c.file, err)
	}
	_, err = c.env.Stdout.Write(out)
	return err
}

// importBoard says in report what a dashboard has that the board lacks.
func importBoard(text []byte, report io.Writer) ([]byte, error) {
	r, err := boards.Import(text)
	if err != nil {
		return nil, err
	}
	fmt.Fprint(report, r)
	return r.Board.Encode()
}

func exportBoard(text []byte, _ io.Writer) ([]byte, error) {
	b, err := boards.Parse(text)
	if err != nil {
		return nil, err
	}
	return boards.Export(b)
}
