package api

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	pathpkg "path"
	"slices"
	"strings"
	"sync"

	"github.com/clanmon/clanmon/server/internal/caller"
	"github.com/clanmon/clanmon/server/internal/envelope"
)

// Identity is who knows who sends a request.
type Identity interface {
	// Identify returns who sent r, and removes from r what its sender may not claim.
	Identify(r *http.Request) caller.Caller
	// HasToken reports whether r has a valid token, with which no password is needed.
	HasToken(r *http.Request) bool
	// ByPassword reports whether --web.config.file lets in only who it knows.
	ByPassword() (bool, error)
	// Open reports whether everybody may read.
	Open() bool
	// LoginHandler serves LoginPaths; nil if nobody can log in.
	LoginHandler() http.Handler
	// SendToLogin answers r with a redirect to the login page, if r is for a page and a
	// login may help, and reports that.
	SendToLogin(w http.ResponseWriter, r *http.Request) bool
}

// Where people log in and out, below the route prefix.
const (
	loginPath  = "/-/login"
	logoutPath = "/-/logout"
	whoamiPath = "/api/clanmon/v1/whoami"
	pushPath   = "/api/v1/push" // which machines send samples to
)

// looks are what reads more than the server has stored: a machine's journal and
// processes.
var looks = []string{"/api/clanmon/v1/journal", "/api/clanmon/v1/processes"}

// needed is the role without which a request is refused, once roles are configured. What
// is not known here needs the role of its method.
func needed(method, path string) caller.Role {
	switch {
	case path == "/-/healthy", path == "/-/ready", path == whoamiPath, method == http.MethodOptions,
		path == loginPath, strings.HasPrefix(path, loginPath+"/"), path == logoutPath,
		strings.HasPrefix(path, "/ping/"),                    // its token is in the path
		path == pushPath,                                     // for machines, which it asks for proof
		path == "/debug", strings.HasPrefix(path, "/debug/"): // debuggable decides
		return caller.Anonymous
	case slices.ContainsFunc(looks, func(look string) bool { return path == look || strings.HasPrefix(path, look+"/") }):
		return caller.Operator
	case safe(method), method == http.MethodPost && (path == "/api/v1/read" || slices.Contains(readsByPost, strings.TrimPrefix(path, "/api/v1/"))):
		return caller.Viewer
	}
	return caller.Operator
}

// roles stands before everything that is served: it puts into the context who asks, and
// refuses what they may not do.
func (a *API) roles(next http.Handler) http.Handler {
	base := strings.TrimSuffix(a.deps.RoutePrefix, "/")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(pathpkg.Clean(r.URL.Path), base)
		role := needed(r.Method, path)
		if role == caller.Operator && safe(r.Method) { // a look, which may follow for long
			asSent := r.Clone(r.Context()) // Identify removes headers
			r = r.WithContext(caller.WithAgain(r.Context(), func() caller.Caller { return a.deps.Identity.Identify(asSent.Clone(asSent.Context())) }))
		}
		c := a.deps.Identity.Identify(r)
		r = r.WithContext(caller.With(r.Context(), c))
		switch {
		case role == caller.Operator && !safe(r.Method):
			a.change(w, r, c, path, next)
		case c.May(role):
			next.ServeHTTP(w, r)
		case role == caller.Viewer && !c.Identified() && a.deps.Identity.SendToLogin(w, r):
		default:
			a.refuseRead(w, path, c, role)
		}
	})
}

// refuseRead says which role a reader lacks.
func (a *API) refuseRead(w http.ResponseWriter, path string, c caller.Caller, role caller.Role) {
	why := fmt.Sprintf("this is for %ss: %s", role, a.lacks(c, role))
	code := http.StatusForbidden
	if !c.Identified() {
		code = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	if strings.HasPrefix(path, "/api/") {
		envelope.Error(w, code, why)
		return
	}
	http.Error(w, why, code)
}

// lacks says what c is instead of what needs role, and what to do about it.
func (a *API) lacks(c caller.Caller, role caller.Role) string {
	switch {
	case c.Via == caller.ViaToken:
		return fmt.Sprintf("the token %s has the role %s; its line in --web.token-file must say %s", c.Name, c.Role, role)
	case c.Identified():
		return fmt.Sprintf("%s (%s) has the role %s; the server's --web.%s has to name them", c.Name, c.Via, c.Role, role)
	}
	remedy := "docs/security.md has the ways to be identified"
	if a.deps.Identity.LoginHandler() != nil {
		remedy = "log in at " + strings.TrimSuffix(a.deps.ExternalURL.String(), "/") + loginPath
	}
	return cmp.Or(c.Unknown, "the client is not identified") + "; " + remedy
}

// change serves what changes something, if the caller may, and records who did.
func (a *API) change(w http.ResponseWriter, r *http.Request, c caller.Caller, path string, next http.Handler) {
	own := strings.HasPrefix(path, "/api/v2/") || strings.HasPrefix(path, "/api/clanmon/")
	switch {
	case own:
		if why := a.refusal(r); why != "" {
			envelope.Error(w, http.StatusForbidden, why)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxWrite)
	case a.deps.Writes != WritesOpen && c.Configured && !c.May(caller.Operator):
		refuse(w, "This is for operators: "+a.lacks(c, caller.Operator))
		return
	case a.deps.Writes == WritesIdentified && enabledByFlag(path) && !c.Configured && !hasCertificate(r):
		refuse(w, "--web.writes=identified takes this only from clients with a password or a client certificate: set one in --web.config.file")
		return
	}
	code := &codeWriter{ResponseWriter: w, code: http.StatusOK}
	next.ServeHTTP(code, r)
	if code.code >= 400 {
		return
	}
	a.changes.WithLabelValues(c.Via, c.Role.String()).Inc()
	if !streams(path) {
		a.deps.Logger.Info("Change over HTTP", "who", c.Name, "via", c.Via, "role", c.Role, "device", c.Device, "client", r.RemoteAddr, "method", r.Method, "path", r.URL.Path)
	}
}

// streams reports whether programs send something to path all the time.
func streams(path string) bool {
	return slices.Contains([]string{"/api/v2/alerts", "/api/v1/write", "/api/v1/otlp/v1/metrics"}, path)
}

// codeWriter remembers the status.
type codeWriter struct {
	http.ResponseWriter
	code int
}

func (w *codeWriter) WriteHeader(code int) {
	w.code = code
	w.ResponseWriter.WriteHeader(code)
}

// Unwrap serves http.ResponseController.
func (w *codeWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// whoami says who asks, and what they may do.
func (a *API) whoami(w http.ResponseWriter, r *http.Request) {
	c := caller.From(r.Context())
	answer := map[string]any{"name": c.Name, "via": c.Via, "role": c.Role.String(), "configured": c.Configured}
	for field, text := range map[string]string{"device": c.Device, "unknown": c.Unknown, "changesRefused": a.refusal(r)} {
		if text != "" {
			answer[field] = text
		}
	}
	if a.deps.Identity.LoginHandler() != nil {
		switch {
		case c.Via == caller.ViaOIDC:
			answer["logout"] = logoutPath
		case !c.Identified():
			answer["login"] = loginPath
		}
	}
	w.Header().Set("Cache-Control", "no-store")
	envelope.Success(w, answer)
}

// tokensFirst has tokens looked at before passwords. The exporter toolkit puts what asks
// for passwords in front of the server's handler when it begins to serve, that is before
// it accepts the first connection.
func (a *API) tokensFirst(l net.Listener, s *http.Server) net.Listener {
	return &firstAccept{Listener: l, do: func() {
		asking := s.Handler
		s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if a.deps.Identity.HasToken(r) {
				a.handler.ServeHTTP(w, r)
				return
			}
			asking.ServeHTTP(w, r)
		})
	}}
}

// firstAccept does something before it accepts the first connection.
type firstAccept struct {
	net.Listener
	once sync.Once
	do   func()
}

func (l *firstAccept) Accept() (net.Conn, error) {
	l.once.Do(l.do)
	return l.Listener.Accept()
}
