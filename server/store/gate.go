package store

import (
	"sync"
	"time"
)

// gate lets those who use the database in, and shuts while it is exchanged for a
// new one: what is inside is waited for, what comes later waits outside. The zero
// gate is open.
type gate struct {
	mu     sync.Mutex
	inside int
	shut   chan struct{} // nil while open; closed when the gate opens again
	empty  chan struct{} // closed when the last one has left a shut gate
}

// enter reports whether the caller is in; it has to leave then. A shut gate is
// waited for at most as long as wait.
func (g *gate) enter(wait time.Duration) bool {
	var timeout <-chan time.Time
	for {
		g.mu.Lock()
		shut := g.shut
		if shut == nil {
			g.inside++
			g.mu.Unlock()
			return true
		}
		g.mu.Unlock()
		if timeout == nil {
			timeout = time.After(wait)
		}
		select {
		case <-shut:
		case <-timeout:
			return false
		}
	}
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if g.inside == 0 && g.empty != nil {
		close(g.empty)
		g.empty = nil
	}
}

// close shuts the gate and waits until nobody is inside. Where that takes longer
// than wait, the gate is open again and the answer is false.
func (g *gate) close(wait time.Duration) bool {
	g.mu.Lock()
	g.shut = make(chan struct{})
	if g.inside == 0 {
		g.mu.Unlock()
		return true
	}
	empty := make(chan struct{})
	g.empty = empty
	g.mu.Unlock()
	select {
	case <-empty:
		return true
	case <-time.After(wait):
		g.open()
		return false
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.shut)
	g.shut, g.empty = nil, nil
}
