package traffic

import (
	"net/http"
	"time"

	"github.com/clanmon/clanmon/server/internal/envelope"
)

// Answer is what Handler responds with. Dates are YYYY-MM-DD in the zone of the server.
type Answer struct {
	At float64 `json:"at"` // in Unix seconds
	// From and To are the first and last day of this month.
	From string `json:"from"`
	To   string `json:"to"`
	// Counting is true while what is stored has not been counted, after the first start.
	Counting bool  `json:"counting,omitempty"`
	Rows     []Row `json:"rows"`
}

// Handler serves GET /api/clanmon/v1/traffic. The parameter machine selects one machine.
func (t *Traffic) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !envelope.Reads(w, r) {
			return
		}
		now := time.Now()
		rows, ready, err := t.Rows(r.Context(), now)
		if err != nil {
			envelope.Error(w, http.StatusInternalServerError, "read traffic: "+err.Error())
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
		this := t.month(now)
		envelope.Success(w, Answer{
			At: float64(now.UnixMilli()) / 1e3, From: this.from.Format(time.DateOnly), To: this.to.AddDate(0, 0, -1).Format(time.DateOnly),
			Counting: !ready, Rows: rows,
		})
	})
}
