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
		if len(r.URL.RawQuery) > maxQuery {
			refused(http.StatusRequestURITooLong, "the query of the URL has %d bytes; the limit is %d", len(r.URL.RawQuery), maxQuery).write(w)
			return
		}
		if isAlerts(r) {
			in.takeAlerts(w, r, upstream)
			return
		}
		if r.Method == http.MethodGet || !strings.HasPrefix(r.URL.Path, "/api/v2/silence") {
			upstream.ServeHTTP(w, r)
			return
		}
		if r.Method == http.MethodPost {
			body, over := readBody(r)
			if over == nil {
				over = limitSilence(body)
			}
			if over != nil {
				over.write(w)
				return
			}
			if why := in.pointless(body); why != "" {
				refused(http.StatusBadRequest, "%s", why).write(w) // as Alertmanager refuses one
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
		body := held.body.Bytes()
		if held.code == http.StatusBadRequest {
			body = namingFlag(body)
		}
		held.writeTo(w, body)
	})
}

// takeAlerts passes on what the limits allow.
func (in *inside) takeAlerts(w http.ResponseWriter, r *http.Request, upstream http.Handler) {
	answer, stop := in.limitAlerts(r)
	if stop {
		answer.write(w)
		return
	}
	if answer == nil {
		upstream.ServeHTTP(w, r)
		return
	}
	held := &heldResponse{header: make(http.Header), code: http.StatusOK}
	upstream.ServeHTTP(held, r)
	if held.code < 300 {
		answer.write(w)
		return
	}
	held.writeTo(w, held.body.Bytes())
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

// writeTo sends the answer with this body.
func (h *heldResponse) writeTo(w http.ResponseWriter, body []byte) {
	for name, values := range h.header {
		w.Header()[name] = values
	}
	w.WriteHeader(h.code)
	_, _ = w.Write(body)
}

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
