package traffic

import (
	"net/http"
	"time"

	"github.com/clanmon/clanmon/server/internal/envelope"
)

// Answer is what Handler responds with. Times are Unix seconds.
type Answer struct {
	At float64 `json:"at"`
	// From and To are this month's, LastFrom is the begin of the one before.
	From     float64 `json:"from"`
	To       float64 `json:"to"`
	LastFrom float64 `json:"lastFrom"`
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
			At: float64(now.UnixMilli()) / 1e3, From: float64(this.from.Unix()), To: float64(this.to.Unix()),
			LastFrom: float64(this.before().from.Unix()), Counting: !ready, Rows: rows,
		})
	})
}
