package delivery

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/common/route"

	"github.com/clanmon/clanmon/server/internal/envelope"
)

// handler serves Alertmanager's API, below /api/v2. A silence that has been
// acknowledged is on the disk.
func (in *inside) handler(silences *saver) http.Handler {
	upstream := in.api.Register(route.New(), "/")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path = "/api/v2" + r.URL.Path
		if r.Method == http.MethodGet || !strings.HasPrefix(r.URL.Path, "/api/v2/silence") {
			upstream.ServeHTTP(w, r)
			return
		}
		if r.Method == http.MethodPost {
			if why := in.pointless(r); why != "" {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusBadRequest)
				_ = json.NewEncoder(w).Encode(why) // as Alertmanager refuses one
				return
			}
		}
		held := &heldResponse{header: make(http.Header), code: http.StatusOK}
		upstream.ServeHTTP(held, r)
		if held.code < 300 { // one that was refused has changed nothing
			if _, err := silences.save(); err != nil {
				in.log.Error("Could not save", "file", silences.file, "err", err)
				http.Error(w, "the silence is in force, but could not be saved: "+err.Error(), http.StatusInternalServerError)
				return
			}
		}
		for name, values := range held.header {
			w.Header()[name] = values
		}
		w.WriteHeader(held.code)
		_, _ = w.Write(held.body.Bytes())
	})
}

// heldResponse is an answer that is not sent yet.
type heldResponse struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (h *heldResponse) Header() http.Header         { return h.header }
func (h *heldResponse) WriteHeader(code int)        { h.code = code }
func (h *heldResponse) Write(p []byte) (int, error) { return h.body.Write(p) }

// Handler serves Alertmanager's API, below /api/v2; nil where nothing is
// delivered from inside.
func (d *Delivery) Handler() http.Handler {
	if d.inside == nil {
		return nil
	}
	return d.inside.mux
}

// ReceiversHandler serves, below /api/clanmon/v1/receivers, how the receivers
// fare (GET), and tests one of them or all (POST /test, {"receiver": "…"}).
func (d *Delivery) ReceiversHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		envelope.Success(w, d.Receivers())
	})
	mux.HandleFunc("POST /test", func(w http.ResponseWriter, r *http.Request) {
		var ask struct {
			Receiver string `json:"receiver"`
		}
		body := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16))
		body.DisallowUnknownFields()
		if err := body.Decode(&ask); err != nil {
			envelope.Error(w, http.StatusBadRequest, "the body has to be JSON such as {\"receiver\": \"people\"}: "+err.Error())
			return
		}
		results, err := d.Test(r.Context(), ask.Receiver)
		if soon, ok := errors.AsType[*TooSoonError](err); ok {
			w.Header().Set("Retry-After", strconv.Itoa(soon.seconds()))
			envelope.Error(w, http.StatusTooManyRequests, err.Error())
			return
		}
		if err != nil {
			envelope.Error(w, http.StatusNotFound, err.Error())
			return
		}
		envelope.Success(w, results)
	})
	return mounted(mux)
}

// NotificationsHandler serves, as /api/clanmon/v1/notifications, who was told of
// which alert.
func (d *Delivery) NotificationsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		told, err := d.Notifications(r.Context())
		if err != nil {
			envelope.Error(w, http.StatusInternalServerError, err.Error())
			return
		}
		envelope.Success(w, told)
	})
	return mounted(mux)
}

// mounted serves mux where the path below which it is mounted is left out.
func mounted(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "" {
			r.URL.Path = "/"
		}
		mux.ServeHTTP(w, r)
	})
}
