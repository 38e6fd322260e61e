package probe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Path is where the blackbox exporter runs a check that the query describes, see
// checks.Check.Query.
const Path = "/check"

// maxWire is how much of an exporter's response is read: a log, and some forty series.
const maxWire = 256 << 10

// wire is a Result on its way from an exporter to the server.
type wire struct {
	OK       bool    `json:"ok"`
	Why      string  `json:"why,omitempty"`
	Duration float64 `json:"duration"` // seconds
	Log      string  `json:"log"`
	Series   string  `json:"series"` // Prometheus' text format
}

// Encode writes r as JSON.
func (r Result) Encode(w io.Writer) error {
	var series bytes.Buffer
	for _, f := range r.Families {
		if _, err := expfmt.MetricFamilyToText(&series, f); err != nil {
			return err
		}
	}
	return json.NewEncoder(w).Encode(wire{r.OK, r.Why, r.Duration.Seconds(), r.Log, series.String()})
}

// Decode reads what Encode wrote, on another machine: it is not trusted. Only series named
// probe_* are taken.
func Decode(from io.Reader) (Result, error) {
	text, err := io.ReadAll(io.LimitReader(from, maxWire+1))
	if err != nil {
		return Result{}, err
	}
	if len(text) > maxWire {
		return Result{}, fmt.Errorf("the response is larger than %d KiB", maxWire>>10)
	}
	var got wire
	if err := json.Unmarshal(text, &got); err != nil {
		return Result{}, fmt.Errorf("the response is not a result of a check: %w", err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(got.Series))
	if err != nil {
		return Result{}, fmt.Errorf("series of the check: %w", err)
	}
	r := Result{OK: got.OK, Why: got.Why, Duration: time.Duration(got.Duration * float64(time.Second)), Log: got.Log[:min(len(got.Log), maxLog)]}
	for name, f := range families {
		if strings.HasPrefix(name, "probe_") {
			r.Families = append(r.Families, f)
		}
	}
	slices.SortFunc(r.Families, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	r.Expires = expiry(r.Families)
	return r, nil
}
