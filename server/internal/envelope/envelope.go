// Package envelope writes the JSON answers of clanmon's own API in the shape of
// Prometheus': {"status": "success", "data": …} or {"status": "error", "error": …}.
package envelope

import (
	"encoding/json"
	"net/http"
)

// Success answers 200 with data, which has to be something that JSON can hold.
func Success(w http.ResponseWriter, data any) {
	write(w, http.StatusOK, map[string]any{"status": "success", "data": data})
}

// Error answers code with a sentence for whoever asked.
func Error(w http.ResponseWriter, code int, text string) {
	write(w, code, map[string]any{"status": "error", "error": text})
}

func write(w http.ResponseWriter, code int, answer map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(answer) // fails only when the client is gone
}
