// Command simfleet pretends to be a fleet of machines, for looking at the pages
// with more of them than anybody has at hand:
//
//	go run ./e2e/simfleet -machines 1000 -inventory /tmp/inventory.json
//	clanmon server --discovery.inventory /tmp/inventory.json
//
// Every machine has an address of its own in 127.0.0.0/8 and answers there as
// clanmon exporter does, node's metrics on one port and systemd's on the next.
// Some are down, some are laptops that are off, some have something wrong; which
// ones depends on the seed alone. While it runs, troubles come and go by
//
//	curl '127.1.0.1:19100/ctl?m=web-fra-001&w=disk+full'  # &off=1 ends it; /ctl lists them
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/clanmon/clanmon/e2e/simfleet/sim"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "simfleet:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	machines := flag.Int("machines", 1000, "how many machines")
	listen := flag.String("listen", ":19100", "port of the node metrics; systemd's is the next")
	inventory := flag.String("inventory", "", "file to write for --discovery.inventory; none if empty")
	seed := flag.Uint64("seed", 1, "another seed is another fleet")
	list := flag.Bool("list", false, "print what is wrong with which machine, and end")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	host, text, err := net.SplitHostPort(*listen)
	if err != nil {
		return fmt.Errorf("-listen %q: %w; write :PORT", *listen, err)
	}
	port, err := strconv.Atoi(text)
	if err != nil || host != "" {
		return errors.New("-listen: write :PORT; the machines are told apart by their addresses")
	}
	fleet, err := sim.New(*machines, *seed)
	if err != nil {
		return err
	}
	if *list {
		for _, m := range fleet.Machines {
			if len(m.Wrong) > 0 {
				fmt.Println(m.Name, m.Wrong)
			}
		}
		return nil
	}
	if *inventory != "" {
		if err := fleet.WriteInventory(*inventory, port); err != nil {
			return err
		}
	}
	return fleet.Serve(ctx, port)
}
