package delivery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	apiv2 "github.com/prometheus/alertmanager/api/v2"
	"github.com/prometheus/alertmanager/cluster"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/model"

	"github.com/clanmon/clanmon/server/internal/caller"
	"github.com/clanmon/clanmon/server/internal/envelope"
)

// newHandler makes what serves Alertmanager's API, below /api/v2. Upstream reads its
// OpenAPI document for that, which takes long and 2 MiB. A silence that has been
// acknowledged is on the disk.
func (in *inside) newHandler() http.Handler {
	var peer cluster.ClusterPeer // an interface that holds a nil pointer is not nil
	if in.peer != nil {
		peer = in.peer
	}
	groups := func(ctx context.Context, routes func(*dispatch.Route) bool, alerts dispatch.AlertFilter) (dispatch.AlertGroups, map[model.Fingerprint][]string, error) {
		d := in.pipeline.Load().dispatcher
		if d == nil {
			return nil, nil, errors.New("delivery is starting")
		}
		return d.Groups(ctx, routes, alerts)
	}
	api, err := apiv2.NewAPI(in.alerts, groups, in.silences, peer, in.log.With("part", "api", "version", "v2"), onceOnly{in.opts.Registerer})
	if err != nil {
		panic(err) // the document is in upstream's code
	}
	in.mu.Lock()
	in.api = api
	in.update()
	in.mu.Unlock()
	upstream := in.counted(in.limited(api.Handler))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path = "/api/v2" + r.URL.Path
		if len(r.URL.RawQuery) > maxQuery {
			refused(http.StatusRequestURITooLong, "the query of the URL has %d bytes; the limit is %d", len(r.URL.RawQuery), maxQuery).write(w)
			return
		}
		if n := written(r.URL.RawQuery); n > maxWritten {
			refused(http.StatusBadRequest, "the filters of the URL repeat too much: they are %d bytes with their repetitions written out; the limit is %d", n, maxWritten).write(w)
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
				body = signed(body, caller.From(r.Context()))
				r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
				over = limitSilence(body, time.Now())
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
			if _, err := in.saveSilences.save(); err != nil {
				in.log.Error("Could not save", "file", in.saveSilences.file, "err", err)
				http.Error(w, "the silence is active, but could not be saved: "+err.Error(), http.StatusInternalServerError)
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

// signed is a silence whose author is who asks, whatever it says. Of those who are not
// identified it can say nothing, but while roles apply, what they write is marked.
func signed(body []byte, who caller.Caller) []byte {
	var silence map[string]json.RawMessage
	if !who.Configured && !who.Identified() || json.Unmarshal(body, &silence) != nil || silence == nil {
		return body // of the second upstream says what is wrong with it
	}
	var author string
	_ = json.Unmarshal(silence["createdBy"], &author)
	for field := range silence {
		if strings.EqualFold(field, "createdBy") { // as upstream reads fields
			delete(silence, field)
		}
	}
	silence["createdBy"], _ = json.Marshal(who.Author(author))
	body, _ = json.Marshal(silence)
	return body
}

// counted measures requests as Alertmanager does.
func (in *inside) counted(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.Path
		if strings.HasPrefix(path, "/api/v2/silence/") { // or each would have a series
			path = "/api/v2/silence/{silenceID}"
		}
		promhttp.InstrumentHandlerDuration(in.metrics.requests.MustCurryWith(prometheus.Labels{"handler": path}), h).ServeHTTP(w, r)
	})
}

// limited bounds how many reads are served at one time, as Alertmanager does.
func (in *inside) limited(h http.Handler) http.Handler {
	places := make(chan struct{}, max(runtime.GOMAXPROCS(0), 8))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			h.ServeHTTP(w, r)
			return
		}
		select {
		case places <- struct{}{}:
			in.metrics.inFlight.Inc()
			defer func() {
				in.metrics.inFlight.Dec()
				<-places
			}()
			h.ServeHTTP(w, r)
		default:
			in.metrics.exceeded.Inc()
			http.Error(w, fmt.Sprintf("Limit of concurrent GET requests reached (%d), try again later.", cap(places)), http.StatusServiceUnavailable)
		}
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
// delivered from inside. The first request makes it.
func (d *Delivery) Handler() http.Handler {
	if d.inside == nil {
		return nil
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { d.inside.handler().ServeHTTP(w, r) })
}

// ReceiversHandler serves, below /api/clanmon/v1/receivers, how the receivers
// fare (GET), and tests one of them or all (POST /test, {"receiver": "…"}).
func (d *Delivery) ReceiversHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		envelope.Success(w, d.Receivers())
	})
	mux.HandleFunc("GET /schedule", func(w http.ResponseWriter, _ *http.Request) {
		envelope.Success(w, d.Schedule(time.Now()))
	})
	mux.HandleFunc("POST /test", func(w http.ResponseWriter, r *http.Request) {
		var ask struct {
			Receiver string `json:"receiver"`
		}
		body := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16))
		body.DisallowUnknownFields()
		if err := body.Decode(&ask); err != nil {
			envelope.Error(w, http.StatusBadRequest, "the body must be JSON such as {\"receiver\": \"people\"}: "+err.Error())
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
	return mux
}

// DigestHandler serves, as /api/clanmon/v1/digest, the digest of the time until now.
func (d *Delivery) DigestHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		preview, err := d.PreviewDigest(r.Context(), time.Now())
		if err != nil {
			envelope.Error(w, http.StatusInternalServerError, err.Error())
			return
		}
		envelope.Success(w, preview)
	})
	return mux
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
	return mux
}
