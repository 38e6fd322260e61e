package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/clanmon/clanmon/discovery/contract"
	"github.com/clanmon/clanmon/internal/tailscaled"
	"github.com/clanmon/clanmon/server/internal/caller"
)

// Capability is the name of the capability in a tailnet's policy that gives a role:
// {"role": "operator"} or {"role": "viewer"}.
const Capability = "clanmon.dev/cap/role"

// How long to wait for tailscaled, and to believe what it said. A connection belongs to
// one device; a device may lose a role.
const (
	whoisLimit  = time.Second
	knownFor    = 30 * time.Second
	unknownFor  = 5 * time.Second // a tailscaled that hangs must not hold up every request
	maxAnswers  = 4096
	maxQuestion = 16 // at one time
)

// tailnet asks tailscaled who the peers are, once for each connection.
type tailnet struct {
	api     whoer
	log     *slog.Logger
	granted func() // a peer has a role by the policy; called each time that tailscaled says so
	asking  chan struct{}

	mu      sync.Mutex
	answers map[netip.AddrPort]*answer
	failing bool // which is logged once
}

type answer struct {
	done  chan struct{} // closed when the rest is there
	until time.Time
	who   person
	grant bool // the tailnet's policy gives it a role
}

func newTailnet(api whoer, granted func(), log *slog.Logger) *tailnet {
	return &tailnet{api: api, granted: granted, log: log, asking: make(chan struct{}, maxQuestion), answers: make(map[netip.AddrPort]*answer)}
}

// person returns who is at the other end of a connection. It waits for a second at most.
func (t *tailnet) person(ctx context.Context, remote netip.AddrPort, local netip.Addr) person {
	if !tailscaled.IsPeer(remote.Addr(), local) {
		return person{}
	}
	now := time.Now()
	t.mu.Lock()
	a := t.answers[remote]
	if a == nil || !a.until.IsZero() && now.After(a.until) {
		a = &answer{done: make(chan struct{})}
		t.makeRoom(now)
		t.answers[remote] = a
		go t.ask(a, remote) // not with ctx: others wait for it too
	}
	t.mu.Unlock()
	select {
	case <-a.done:
		return a.who
	case <-ctx.Done():
		return person{unknown: "the request ended before tailscaled responded"}
	}
}

// makeRoom forgets what is too old, or everything that is answered. t.mu is held.
func (t *tailnet) makeRoom(now time.Time) {
	if len(t.answers) < maxAnswers {
		return
	}
	for remote, a := range t.answers {
		if !a.until.IsZero() && now.After(a.until) {
			delete(t.answers, remote)
		}
	}
	if len(t.answers) >= maxAnswers {
		clear(t.answers)
	}
}

func (t *tailnet) ask(a *answer, remote netip.AddrPort) {
	ctx, cancel := context.WithTimeout(context.Background(), whoisLimit)
	defer cancel()
	var who tailscaled.Who
	var err error
	select {
	case t.asking <- struct{}{}:
		who, err = t.api.WhoIs(ctx, remote)
		<-t.asking
	case <-ctx.Done():
		err = ctx.Err()
	}
	until := time.Now().Add(knownFor)
	switch {
	case err == nil:
		a.who, a.grant = t.peer(who)
	case errors.Is(err, tailscaled.ErrNoPeer), errors.Is(err, fs.ErrNotExist): // no tailscaled: not a tailnet of ours
	case errors.Is(err, context.DeadlineExceeded):
		a.who.unknown = fmt.Sprintf("tailscaled did not say within %s who %s is", whoisLimit, remote.Addr())
	default:
		a.who.unknown = "tailscaled could not be asked who " + remote.Addr().String() + " is"
	}
	if err != nil {
		until = time.Now().Add(unknownFor)
	}
	t.mu.Lock()
	a.until = until
	if failing := a.who.unknown != ""; failing != t.failing {
		t.failing = failing
		if failing {
			t.log.Warn("Could not identify a peer of the tailnet", "address", remote.Addr(), "err", err)
		} else {
			t.log.Info("Peers of the tailnet are identified again")
		}
	}
	t.mu.Unlock()
	if a.grant {
		t.granted()
	}
	close(a.done)
}

// peer is who a device belongs to.
func (t *tailnet) peer(w tailscaled.Who) (p person, grant bool) {
	p = person{via: caller.ViaTailscale, device: w.Device, tags: w.Tags, shared: w.Shared, name: w.Login}
	if len(w.Tags) > 0 {
		p.name = w.Tags[0]
	}
	if p.name == "" || len(w.Tags) == 0 && prefixed(p.name) {
		return person{}, false
	}
	if !p.shared {
		p.machine = contract.Short(w.Device)
	}
	for _, value := range w.Capabilities[Capability] {
		var c struct{ Role string }
		_ = json.Unmarshal(value, &c) // what is not an object has no role
		switch strings.ToLower(c.Role) {
		case caller.Operator.String():
			p.role, grant = caller.Operator, true
		case caller.Viewer.String():
			p.role, grant = max(p.role, caller.Viewer), true
		default:
			t.log.Warn("A capability in the tailnet's policy has an unknown role: it must be operator or viewer", "capability", Capability, "value", string(value), "peer", p.name)
		}
	}
	return p, grant
}
