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

// listen binds the listeners of all kinds.
func (e *Exporter) listen() error {
	if e.opts.SystemdSocket {
		return e.takeSockets()
	}
	for _, s := range e.servers {
		if err := e.bindAll(s); err != nil {
			return err
		}
	}
	return nil
}

func (e *Exporter) bindAll(s *kindServer) error {
	addresses := e.opts.Listen[s.kind.Name]
	if len(addresses) == 0 {
		addresses = []string{fmt.Sprintf(":%d", s.kind.Port)}
	}
	for _, a := range addresses {
		l, err := bind(a)
		if err != nil {
			return fmt.Errorf("exporter kind %s: listen address %q: %w", s.kind.Name, a, err)
		}
		s.listeners = append(s.listeners, l)
	}
	return nil
}

func bind(address string) (net.Listener, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		path = strings.TrimPrefix(path, "//")
		// A socket left behind by a process that was killed is in the way.
		if c, err := net.Dial("unix", path); err == nil {
			c.Close()
			return nil, errors.New("a process listens there already")
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
// what is left to the first kind, as to an upstream exporter that is alone. A
// kind that gets none listens on its address: the socket unit of an upstream
// exporter has one socket only.
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
		return errors.New("--web.systemd-socket: systemd passed no socket; is the unit started by its socket unit?")
	}
	for _, s := range e.servers {
		if len(s.listeners) == 0 && len(unnamed) > 0 {
			s.listeners, unnamed = unnamed[:1:1], unnamed[1:]
		}
	}
	e.servers[0].listeners = append(e.servers[0].listeners, unnamed...)
	for _, s := range e.servers {
		if len(s.listeners) == 0 {
			e.opts.Logger.Info("Systemd passed no socket for this kind, listening on its address", "kind", s.kind.Name)
			if err := e.bindAll(s); err != nil {
				return err
			}
		}
	}
	return nil
}
