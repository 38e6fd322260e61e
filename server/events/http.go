package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/clanmon/clanmon/server/internal/caller"
	"github.com/clanmon/clanmon/server/internal/envelope"
)

// Handler serves GET /api/clanmon/v1/events. Parameters: from and to, by default the last 24
// hours, as Unix seconds or milliseconds or RFC 3339; machine; kind, several with commas;
// limit; overlapping=true for what lasts and began before too; format=grafana for a list of Grafana's annotations.
//
// POST adds a note, a JSON object with text and, if wanted, machines, time in Unix seconds, and by.
// The author of a caller who is known is the caller. The answer is the note, and which of its
// machines are unknown.
func (e *Events) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "" && r.URL.Path != "/" {
			envelope.Error(w, http.StatusNotFound, "there is nothing at "+r.URL.Path)
			return
		}
		switch r.Method {
		case http.MethodGet, http.MethodHead:
		case http.MethodPost:
			e.post(w, r)
			return
		default:
			w.Header().Set("Allow", "GET, HEAD, POST")
			envelope.Error(w, http.StatusMethodNotAllowed, "only GET and POST are allowed")
			return
		}
		params := r.URL.Query()
		q, err := question(params, time.Now())
		if err != nil {
			envelope.Error(w, http.StatusBadRequest, err.Error())
			return
		}
		a, err := e.Find(r.Context(), q)
		switch {
		case errors.Is(err, ErrTooMuch):
			envelope.Error(w, http.StatusUnprocessableEntity, err.Error())
		case err != nil:
			envelope.Error(w, http.StatusInternalServerError, "find events: "+err.Error())
		case params.Get("format") == "grafana":
			envelope.Write(w, http.StatusOK, annotations(a.Events))
		default:
			envelope.Success(w, a)
		}
	})
}

func (e *Events) post(w http.ResponseWriter, r *http.Request) {
	if e.opts.Store == nil {
		envelope.Error(w, http.StatusUnprocessableEntity, "an agent keeps no notes: add it on the server that it sends to")
		return
	}
	var n Note
	in := json.NewDecoder(r.Body)
	in.DisallowUnknownFields()
	if err := in.Decode(&n); err != nil {
		envelope.Error(w, http.StatusBadRequest, "the note is not valid: "+strings.TrimPrefix(err.Error(), "json: "))
		return
	}
	n.By = caller.From(r.Context()).Author(n.By)
	if err := n.mend(time.Now()); err != nil {
		envelope.Error(w, http.StatusBadRequest, err.Error())
		return
	}
	if err := e.notes.add(n); err != nil {
		envelope.Error(w, http.StatusInternalServerError, err.Error())
		return
	}
	unknown := []string{}
	for _, m := range n.Machines {
		if e.opts.Knows != nil && !e.opts.Knows(m) {
			unknown = append(unknown, m)
		}
	}
	envelope.Success(w, map[string]any{"note": n, "unknown": unknown})
}

func question(params url.Values, now time.Time) (q Question, err error) {
	q = Question{To: now, Machine: params.Get("machine")}
	if q.To, err = instant(params, "to", now); err != nil {
		return q, err
	}
	if q.From, err = instant(params, "from", q.To.Add(-24*time.Hour)); err != nil {
		return q, err
	}
	if !q.From.Before(q.To) {
		return q, fmt.Errorf("from %s is not before to %s", q.From.UTC().Format(time.RFC3339), q.To.UTC().Format(time.RFC3339))
	}
	if q.To.Sub(q.From) > maxRange {
		return q, fmt.Errorf("from and to are %d days apart, the maximum is %d", int(q.To.Sub(q.From).Hours()/24), int(maxRange.Hours()/24))
	}
	if text := params.Get("kind"); text != "" {
		q.Kinds = strings.Split(text, ",")
	}
	for _, k := range q.Kinds {
		if !slices.Contains(Kinds, k) {
			return q, fmt.Errorf("kind %q: use %s", k, strings.Join(Kinds, ", "))
		}
	}
	if q.Limit, err = limit(params, 1000); err != nil {
		return q, err
	}
	switch text := params.Get("overlapping"); text {
	case "", "false":
	case "true":
		q.Overlapping = true
	default:
		return q, fmt.Errorf("overlapping %q: use true or false", text)
	}
	if f := params.Get("format"); f != "" && f != "grafana" {
		return q, fmt.Errorf("format %q: use grafana, or leave it out", f)
	}
	return q, nil
}

func limit(params url.Values, otherwise int) (int, error) {
	text := params.Get("limit")
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxLimit {
		return n, fmt.Errorf("limit %q: use a number from 1 to %d", text, maxLimit)
	}
	return n, nil
}

// instant reads a time: Unix seconds, milliseconds as Grafana has them, or RFC 3339.
func instant(params url.Values, name string, otherwise time.Time) (time.Time, error) {
	text := params.Get(name)
	if text == "" {
		return otherwise, nil
	}
	if v, err := strconv.ParseFloat(text, 64); err == nil && v >= 0 && v < 1e14 {
		if v < 1e11 {
			v *= 1e3
		}
		return time.UnixMilli(int64(v)), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, fmt.Errorf("%s %q: use Unix seconds or a time such as 2026-11-28T12:00:00Z", name, text)
	}
	return t, nil
}

// annotation is an Event as Grafana's JSON data sources take it.
type annotation struct {
	Time    int64    `json:"time"` // milliseconds
	TimeEnd int64    `json:"timeEnd,omitempty"`
	Region  bool     `json:"isRegion"`
	Title   string   `json:"title"`
	Text    string   `json:"text"`
	Tags    []string `json:"tags"`
}

func annotations(all []Event) []annotation {
	out := make([]annotation, 0, len(all))
	for _, e := range all {
		a := annotation{Time: int64(e.Time * 1e3), Title: e.Text, Text: e.Detail, Tags: []string{e.Kind}}
		if e.By != "" {
			a.Text = strings.TrimSpace(a.Text + "\n" + e.By)
		}
		if e.Machine != "" {
			a.Title = e.Machine + ": " + e.Text
			a.Tags = append(a.Tags, e.Machine)
		}
		if e.Severity != "" {
			a.Tags = append(a.Tags, e.Severity)
		}
		if e.End != nil {
			a.TimeEnd, a.Region = int64(*e.End*1e3), true
		}
		out = append(out, a)
	}
	return out
}
