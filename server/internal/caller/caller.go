// Package caller says who sent a request. The guard of the API puts a Caller into the
// context of each request before any handler sees it; handlers only read it.
package caller

import (
	"context"
	"strings"
)

// Role is what a caller may do.
type Role int

// Roles include those before them. Anonymous may do nothing that needs a role.
const (
	Anonymous Role = iota
	Viewer         // reads
	Operator       // also makes changes, and looks into machines
)

// String returns the role as the API and metrics have it.
func (r Role) String() string {
	switch r {
	case Operator:
		return "operator"
	case Viewer:
		return "viewer"
	}
	return "anonymous"
}

// How a caller was identified, in Caller.Via.
const (
	ViaNothing     = "none" // not identified
	ViaTailscale   = "tailscale"
	ViaProxy       = "proxy"
	ViaOIDC        = "oidc"
	ViaToken       = "token"
	ViaPassword    = "password"
	ViaCertificate = "certificate"
)

// Caller is who sent a request.
type Caller struct {
	// Name is a login, the name of a token, or the first tag of a device, such as
	// "tag:ci"; "" if the caller is not identified.
	Name string
	// Via is how the caller was identified, one of the constants above; "" is
	// ViaNothing.
	Via string
	// Device is the name of the caller's device in the tailnet, "" if it is not known.
	Device string
	// Machine is the machine that the caller proves to be, "" if it proves none.
	Machine string
	// Unknown says why there is no Name, "" if there is nothing to say.
	Unknown string
	// Groups are the caller's groups or tags, as the source of the name reports them.
	Groups []string
	// Configured reports whether roles apply. Without it identity only names people,
	// --web.writes decides who may make changes, and Role is Anonymous.
	Configured bool
	Role       Role
}

// Identified reports whether it is known who the caller is.
func (c Caller) Identified() bool { return c.Name != "" }

// May reports whether roles allow the caller what needs role r. It is true while no
// identity is configured.
func (c Caller) May(r Role) bool { return !c.Configured || c.Role >= r }

// Author is who wrote what the caller sends, where claimed is who it says. Of those who are
// not identified nothing else is known, but while roles apply, what they write is marked.
func (c Caller) Author(claimed string) string {
	switch {
	case c.Identified():
		return c.Name
	case c.Configured:
		return strings.TrimSuffix(claimed, unidentified) + unidentified
	}
	return claimed
}

const unidentified = " (not identified)"

type (
	key      struct{}
	againKey struct{}
)

// With returns a context that carries c.
func With(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, key{}, c)
}

// WithAgain returns a context by which what takes long may learn who the caller is by then.
func WithAgain(ctx context.Context, identify func() Caller) context.Context {
	return context.WithValue(ctx, againKey{}, identify)
}

// Again identifies the caller once more, where that was prepared for; elsewhere the caller
// is who it was.
func Again(ctx context.Context) Caller {
	if identify, ok := ctx.Value(againKey{}).(func() Caller); ok {
		return identify()
	}
	return From(ctx)
}

// From returns the caller of a request by its context. A context without one yields an
// anonymous caller for whom no identity is configured.
func From(ctx context.Context) Caller {
	c, _ := ctx.Value(key{}).(Caller)
	if c.Via == "" {
		c.Via = ViaNothing
	}
	return c
}
