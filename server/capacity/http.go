package capacity

import (
	"net/http"
	"time"

	"github.com/clanmon/clanmon/server/internal/envelope"
)

// Answer is what Handler responds with. At is in Unix seconds.
type Answer struct {
	At   float64 `json:"at"`
	Rows []Row   `json:"rows"`
}

// Handler serves GET /api/clanmon/v1/capacity. The parameter machine selects one machine.
func (c *Capacity) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !envelope.Reads(w, r) {
			return
		}
		now := time.Now()
		rows, err := c.Rows(r.Context(), now)
		if err != nil {
			envelope.Error(w, http.StatusInternalServerError, "read capacity: "+err.Error())
			return
		}
		if machine := r.URL.Query().Get("machine"); machine != "" {
			only := []Row{}
			for _, row := range rows {
				if row.Machine == machine {
					only = append(only, row)
				}
			}
			rows = only
		}
		envelope.Success(w, Answer{float64(now.UnixMilli()) / 1e3, rows})
	})
}
