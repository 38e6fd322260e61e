package exporter

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/mdlayher/vsock"
)

// listen binds the listeners of all kinds. An optional kind that cannot listen is
// left out: a machine with another systemd_exporter keeps its node metrics.
func (e *Exporter) listen() error {
	if !e.opts.Listens() {
		e.servers = slices.DeleteFunc(e.servers, e.useless)
		return nil
	}
	if e.opts.SystemdSocket {
		if err := e.takeSockets(); err != nil {
			return err
		}
	}
	var served []*kindServer
	for i, s := range e.servers {
		err := e.bindAll(s)
		switch {
		case err == nil:
			served = append(served, s)
		case i > 0 && slices.Contains(e.opts.Optional, s.kind.Name):
			e.opts.Logger.Warn("Exporter is left out", "kind", s.kind.Name, "err", err)
			if err := s.close(); err != nil {
				return err
			}
		default:
			return err
		}
	}
	e.servers = served
	return nil
}

// Listens reports whether ports are opened. An exporter that pushes needs none, and opens those
// that it is asked for.
func (o *Options) Listens() bool {
	if len(o.Push.URLs) == 0 || o.SystemdSocket {
		return true
	}
	for _, addresses := range o.Listen {
		if len(addresses) > 0 {
			return true
		}
	}
	return false
}

// useless reports whether nobody asked for a kind, and this machine has nothing that it could read.
func (e *Exporter) useless(s *kindServer) bool {
	return slices.Contains(e.opts.Optional, s.kind.Name) && s.kind.Present != nil && !s.kind.Present()
}

// bindAll binds the addresses of a kind, unless it has a socket of systemd.
func (e *Exporter) bindAll(s *kindServer) error {
	if len(s.listeners) > 0 {
		return nil
	}
	addresses, err := e.addresses(s.kind)
	if err != nil {
		return fmt.Errorf("exporter %s: %w", s.kind.Name, err)
	}
	for _, a := range addresses {
		l, err := bind(a)
		if err != nil {
			return fmt.Errorf("exporter %s: listen address %q: %w", s.kind.Name, a, err)
		}
		s.listeners = append(s.listeners, l)
	}
	return nil
}

// addresses are where a kind listens: on its own addresses, or else on its usual
// port of the hosts of the first kind. Who binds the first one to 127.0.0.1 does
// not want the second on all interfaces.
func (e *Exporter) addresses(k Kind) ([]string, error) {
	if own := e.opts.Listen[k.Name]; len(own) > 0 {
		return own, nil
	}
	first := e.servers[0].kind.Name
	port := strconv.Itoa(k.Port)
	switch {
	case k.Name == first:
		return []string{":" + port}, nil
	case e.opts.SystemdSocket:
		return nil, fmt.Errorf("systemd passed no socket for it: set FileDescriptorName=%s in a socket unit, or set --%s.listen-address", k.Name, k.Name)
	case len(e.opts.Listen[first]) == 0:
		return []string{":" + port}, nil
	}
	var found []string
	for _, a := range e.opts.Listen[first] {
		if strings.HasPrefix(a, "unix:") || strings.HasPrefix(a, "vsock:") {
			continue
		}
		host, _, err := net.SplitHostPort(a)
		if err != nil {
			return nil, fmt.Errorf("listen address %q of exporter %s: %w", a, first, err)
		}
		if at := net.JoinHostPort(host, port); !slices.Contains(found, at) {
			found = append(found, at)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("exporter %s has no HOST:PORT whose host could be used: set --%s.listen-address", first, k.Name)
	}
	return found, nil
}

func bind(address string) (net.Listener, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		path = strings.TrimPrefix(path, "//")
		// A socket left behind by a process that was killed is in the way.
		if c, err := net.Dial("unix", path); err == nil {
			c.Close()
			return nil, errors.New("the address is already in use")
		}
		if info, err := os.Lstat(path); err == nil && info.Mode().Type() == os.ModeSocket {
			_ = os.Remove(path)
		}
		return net.Listen("unix", path)
	}
	if rest, ok := strings.CutPrefix(address, "vsock://"); ok {
		_, port, err := net.SplitHostPort(rest)
		if err != nil {
			return nil, err
		}
		n, err := strconv.ParseUint(port, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("port %q: %w", port, err)
		}
		return vsock.Listen(uint32(n), nil)
	}
	return net.Listen("tcp", address)
}

// takeSockets gives each kind the sockets that systemd passed under its name
// (FileDescriptorName=). The others go to the kinds without one, in order, and
// what is left to the first kind, as to an upstream exporter that is alone.
func (e *Exporter) takeSockets() error {
	var unnamed []net.Listener
	files := activation.Files(true)
	for _, f := range files {
		l, err := net.FileListener(f)
		f.Close()
		if err != nil {
			return fmt.Errorf("--web.systemd-socket: socket %q: %w", f.Name(), err)
		}
		i := slices.IndexFunc(e.servers, func(s *kindServer) bool { return s.kind.Name == f.Name() })
		if i < 0 {
			unnamed = append(unnamed, l)
			continue
		}
		e.servers[i].listeners = append(e.servers[i].listeners, l)
	}
	if len(files) == 0 {
		return errors.New("--web.systemd-socket: systemd passed no socket; start the unit through its socket unit")
	}
	for _, s := range e.servers {
		if len(s.listeners) == 0 && len(unnamed) > 0 {
			s.listeners, unnamed = unnamed[:1:1], unnamed[1:]
		}
	}
	e.servers[0].listeners = append(e.servers[0].listeners, unnamed...)
	if len(e.servers[0].listeners) == 0 && len(e.opts.Listen[e.servers[0].kind.Name]) == 0 {
		return fmt.Errorf("--web.systemd-socket: systemd passed no socket for the %s exporter", e.servers[0].kind.Name)
	}
	return nil
}
