package exporter

import (
	"errors"
	"fmt"
	"net"
	"os"
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
// (FileDescriptorName=); the others go to the kinds in order, one each.
func (e *Exporter) takeSockets() error {
	named, err := activation.ListenersWithNames()
	if err != nil {
		return fmt.Errorf("--web.systemd-socket: %w", err)
	}
	for _, s := range e.servers {
		s.listeners = named[s.kind.Name]
		delete(named, s.kind.Name)
	}
	var others []net.Listener
	for _, ls := range named {
		for _, l := range ls {
			if l != nil { // a datagram socket, say
				others = append(others, l)
			}
		}
	}
	for _, s := range e.servers {
		if len(s.listeners) > 0 {
			continue
		}
		if len(others) == 0 {
			return fmt.Errorf("--web.systemd-socket: systemd passed no socket for exporter kind %s; add ListenStream= with FileDescriptorName=%s, or leave the kind out with --exporter", s.kind.Name, s.kind.Name)
		}
		s.listeners, others = others[:1], others[1:]
	}
	return nil
}
