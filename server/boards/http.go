package boards

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/clanmon/clanmon/server/internal/envelope"
)

// importPath is below boards, where no board can have its name.
const importPath = "import"

// Handler serves /api/clanmon/v1/boards:
//
//	GET    /         all boards
//	GET    /NAME     one board; format=file for its file, format=grafana for a dashboard of Grafana
//	PUT    /NAME     stores a board. If-Match has the ETag of what it replaces
//	DELETE /NAME     likewise
//	POST   /import   turns a dashboard of Grafana into a board, and stores nothing
func (b *Boards) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", b.list)
	mux.HandleFunc("GET /{name}", b.get)
	mux.HandleFunc("PUT /{name}", b.put)
	mux.HandleFunc("DELETE /{name}", b.delete)
	mux.HandleFunc("POST /import", b.importing)
	return mux
}

func (b *Boards) list(w http.ResponseWriter, _ *http.Request) {
	all, err := b.List()
	if err != nil {
		envelope.Error(w, http.StatusInternalServerError, "list boards: "+err.Error())
		return
	}
	envelope.Success(w, map[string]any{"boards": append([]Summary{}, all...)})
}

func (b *Boards) get(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	e, err := b.Get(name)
	if err != nil {
		fail(w, name, err)
		return
	}
	w.Header().Set("ETag", e.ETag)
	w.Header().Set("Cache-Control", "no-cache")
	switch format := r.URL.Query().Get("format"); {
	case format == "file":
		attach(w, name, e.text)
	case format != "" && format != "grafana":
		envelope.Error(w, http.StatusBadRequest, fmt.Sprintf("format %q: use file or grafana, or leave it out", format))
	case e.Board == nil && format == "":
		envelope.Success(w, e)
	case e.Board == nil:
		envelope.Error(w, http.StatusUnprocessableEntity, e.Error)
	case format == "grafana":
		text, err := Export(e.Board)
		if err != nil {
			envelope.Error(w, http.StatusInternalServerError, err.Error())
			return
		}
		attach(w, name+"-grafana", text)
	default:
		envelope.Success(w, e)
	}
}

// attach sends a file that browsers save.
func attach(w http.ResponseWriter, name string, text []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", name+".json"))
	_, _ = w.Write(text)
}

func (b *Boards) put(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	text, ok := body(w, r)
	if !ok {
		return
	}
	board, err := Parse(text)
	if err != nil {
		fail(w, name, fmt.Errorf("%w: %w", ErrInvalid, err))
		return
	}
	e, err := b.Put(name, r.Header.Get("If-Match"), board)
	if err != nil {
		fail(w, name, err)
		return
	}
	w.Header().Set("ETag", e.ETag)
	envelope.Success(w, e)
}

func (b *Boards) delete(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	if err := b.Delete(name, r.Header.Get("If-Match")); err != nil {
		fail(w, name, err)
		return
	}
	envelope.Success(w, nil)
}

func (b *Boards) importing(w http.ResponseWriter, r *http.Request) {
	text, ok := body(w, r)
	if !ok {
		return
	}
	report, err := Import(text)
	if err != nil {
		envelope.Error(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	envelope.Success(w, report)
}

// body reads what a client sends; false if that failed, and was said.
func body(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBytes))
	if err == nil {
		return text, true
	}
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		envelope.Error(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the file is larger than %d MiB, the maximum", MaxBytes>>20))
		return nil, false
	}
	envelope.Error(w, http.StatusBadRequest, "read the request: "+err.Error())
	return nil, false
}

func fail(w http.ResponseWriter, name string, err error) {
	code := http.StatusInternalServerError
	switch {
	case errors.Is(err, ErrMissing):
		code, err = http.StatusNotFound, fmt.Errorf("%w: %q", ErrMissing, name)
	case errors.Is(err, ErrReadOnly):
		code = http.StatusForbidden
	case errors.Is(err, ErrNoMatch):
		code = http.StatusPreconditionRequired
	case errors.Is(err, ErrChanged):
		code = http.StatusPreconditionFailed
	case errors.Is(err, ErrInvalid):
		code = http.StatusBadRequest
	}
	envelope.Error(w, code, err.Error())
}

// isBoard reports whether text has what only clanmon's boards have.
func isBoard(text []byte) bool {
	var keys map[string]json.RawMessage
	if json.Unmarshal(text, &keys) != nil {
		return false
	}
	for _, grafanas := range []string{"schemaVersion", "templating", "annotations", "__inputs", "rows", "dashboard", "apiVersion", "uid"} {
		if _, is := keys[grafanas]; is {
			return false
		}
	}
	_, has := keys["version"]
	return has && !strings.Contains(string(keys["panels"]), `"gridPos"`)
}
