// Package envelope writes JSON answers, above all those of clanmon's own API in the
// shape of Prometheus': {"status": "success", "data": …} or {"status": "error", "error": …}.
package envelope

import (
	"encoding/json"
	"net/http"
)

// Success answers 200 with data, which has to be something that JSON can hold.
func Success(w http.ResponseWriter, data any) {
	Write(w, http.StatusOK, map[string]any{"status": "success", "data": data})
}

// Error answers code with a sentence for whoever asked.
func Error(w http.ResponseWriter, code int, text string) {
	Write(w, code, map[string]any{"status": "error", "error": text})
}

// Write answers code with JSON of another shape: that of Alertmanager's API, or between
// two of our own processes.
func Write(w http.ResponseWriter, code int, answer any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(answer) // fails only when the client is gone
}

// Reads reports whether r reads an endpoint that has nothing below it, and answers it if not.
func Reads(w http.ResponseWriter, r *http.Request) bool {
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		Error(w, http.StatusMethodNotAllowed, "only GET is allowed")
	case r.URL.Path != "" && r.URL.Path != "/":
		Error(w, http.StatusNotFound, "there is nothing at "+r.URL.Path)
	default:
		return true
	}
	return false
}
