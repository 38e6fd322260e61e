package elsewhere

import (
	"net/http"

	"github.com/clanmon/clanmon/server/internal/envelope"
)

// Handler serves GET /api/clanmon/v1/elsewhere.
func (e *Elsewhere) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if envelope.Reads(w, r) {
			envelope.Success(w, e.Answer(r.Context()))
		}
	})
}
