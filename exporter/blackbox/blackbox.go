// Package blackbox has the settings of the blackbox exporter: its flags, and which targets it may
// probe. What probes is exporter/blackbox/probing, which a program links or not: its upstream is
// a third of clanmon-exporter.
package blackbox

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/clanmon/clanmon/exporter/internal/kindflags"
)

// Name of the kind.
const Name = "blackbox"

// Config of the kind.
type Config struct {
	File          string   // modules, in upstream's format; "" is none
	Allow         []string // patterns of targets; none is any with a file, and none without
	TimeoutOffset float64  // in seconds
	ProberLevel   string   // of the log of each probe
}

// Flags declares the flags of upstream's program that have a use here, and ours.
func (c *Config) Flags(f *kindflags.Set) {
	f.Flag("blackbox.config.file", "", "Blackbox exporter configuration file.").PlaceHolder("FILE").StringVar(&c.File)
	f.Flag("blackbox.allow", "", "Target that may be probed: HOST, HOST:PORT, a pattern such as *.example.org, or * for any. Redirects must stay within it. Defaults to any with --blackbox.config.file, and to none without. Repeatable.").PlaceHolder("HOST[:PORT]").StringsVar(&c.Allow)
	f.Flag("blackbox.timeout-offset", "", "Offset to subtract from timeout in seconds.").Default("0.5").Float64Var(&c.TimeoutOffset)
	f.Flag("blackbox.log.prober", "", "Log level for probe request logs. One of: [debug, info, warn, error].").Default("info").EnumVar(&c.ProberLevel, "debug", "info", "warn", "error")
}

// Check says what is wrong with the settings, without reading the file.
func (c Config) Check() error {
	for _, p := range c.Allow {
		switch _, err := path.Match(p, ""); {
		case p == "":
			return errors.New("--blackbox.allow is empty")
		case err != nil:
			return fmt.Errorf("--blackbox.allow %q is not a pattern: %w", p, err)
		case strings.Contains(p, "://"):
			return fmt.Errorf("--blackbox.allow %q is a URL; it must be HOST, HOST:PORT or a pattern", p)
		}
	}
	return nil
}

// Closed reports whether no target at all may be probed.
func (c Config) Closed() bool { return len(c.Allow) == 0 && c.File == "" }

// Allows reports whether a host may be probed on a port; "" is no port. A host is a name, an
// address without brackets, or the path of a unix socket.
func (c Config) Allows(host, port string) bool {
	if len(c.Allow) == 0 {
		return !c.Closed()
	}
	return slices.ContainsFunc(c.Allow, func(pattern string) bool { return pattern == "*" || matches(pattern, host, port) })
}

// Names reports whether a host is among those allowed by its own name, and not only by a pattern
// that fits many.
func (c Config) Names(host, port string) bool {
	return slices.ContainsFunc(c.Allow, func(pattern string) bool {
		return !strings.ContainsAny(pattern, "*?\\") && matches(pattern, host, port)
	})
}

func matches(pattern, host, port string) bool {
	host, pattern = strings.ToLower(host), strings.ToLower(pattern)
	forms := []string{host}
	if port != "" {
		forms = append(forms, net.JoinHostPort(host, port))
	}
	if addr, err := netip.ParseAddr(host); err == nil && addr.Is6() {
		// In a pattern brackets are a set of characters.
		return slices.Contains(append(forms, "["+host+"]"), pattern)
	}
	return slices.ContainsFunc(forms, func(form string) bool { ok, _ := path.Match(pattern, form); return ok })
}
