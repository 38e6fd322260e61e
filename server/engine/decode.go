package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// data is what a query returns.
type data struct {
	Type   string          `json:"resultType"`
	Result json.RawMessage `json:"result"`
}

type series struct {
	Metric     map[string]string `json:"metric"`
	Value      json.RawMessage   `json:"value"`
	Values     points            `json:"values"`
	Histogram  json.RawMessage   `json:"histogram"`
	Histograms []json.RawMessage `json:"histograms"`
}

// value reads the response to r. It refuses what does not fit together with the local part.
func (a *answer) value(r request, s scope, nameless bool) (parser.Value, error) {
	var d data
	if err := json.Unmarshal(a.Data, &d); err != nil {
		return nil, errMalformed
	}
	if d.Type == "scalar" {
		p, err := point(d.Result)
		return promql.Scalar{T: p.T, V: p.F}, err
	}
	var all []series
	if err := json.Unmarshal(d.Result, &all); err != nil {
		return nil, errMalformed
	}
	var m promql.Matrix
	skipped := false
	for _, one := range all {
		if nameless {
			delete(one.Metric, model.MetricNameLabel)
		}
		if d.Type == "vector" && one.Value != nil {
			p, err := point(one.Value)
			if err != nil {
				return nil, err
			}
			one.Values = points{p}
		}
		skipped = skipped || one.Histogram != nil || one.Histograms != nil
		for n, p := range one.Values {
			late := n > 0 && p.T <= one.Values[n-1].T
			if r.step > 0 && (late || p.T < r.first || p.T > r.last || (p.T-r.first)%r.step != 0) {
				return nil, fmt.Errorf("the response has points at other times than requested; check --query.dialect")
			}
		}
		if len(one.Values) > 0 {
			m = append(m, promql.Series{Metric: s.own(one.Metric), Floats: one.Values})
		}
	}
	if skipped {
		a.Warnings = append(a.Warnings, "native histograms are not read from the engine")
	}
	seen := make(map[string]struct{}, len(m))
	var key []byte
	for _, one := range m {
		key = one.Metric.Bytes(key)
		if _, twice := seen[string(key)]; twice {
			return nil, fmt.Errorf("the response has two series %s; is deduplication set up?", one.Metric)
		}
		seen[string(key)] = struct{}{}
	}
	switch d.Type {
	case "matrix":
		return m, nil
	case "vector": // in its order, which may be that of sort()
		v := make(promql.Vector, 0, len(m))
		for _, s := range m {
			v = append(v, promql.Sample{Metric: s.Metric, T: r.first, F: s.Floats[0].F})
		}
		return v, nil
	}
	return nil, errMalformed
}

var errMalformed = errors.New("the response is malformed")

type points []promql.FPoint

// UnmarshalJSON reads [[1700000000.123,"4.2"],…]; by reflection it would take most of the
// time of a query.
func (p *points) UnmarshalJSON(text []byte) error {
	*p = make(points, 0, bytes.Count(text, []byte{'"'})/2)
	for {
		from := bytes.LastIndexByte(text[:max(0, bytes.IndexByte(text, '"'))], '[')
		if from < 0 {
			return nil
		}
		text = text[from:]
		to := bytes.IndexByte(text, ']')
		if to < 0 {
			return errMalformed
		}
		one, err := point(text[:to+1])
		if err != nil {
			return err
		}
		*p = append(*p, one)
		text = text[to+1:]
	}
}

// point reads [1700000000.123,"4.2"].
func point(text []byte) (promql.FPoint, error) {
	text = bytes.TrimSpace(text)
	text, begins := bytes.CutPrefix(text, []byte{'['})
	text, ends := bytes.CutSuffix(text, []byte{']'})
	at, value, both := bytes.Cut(text, []byte{','})
	value = bytes.TrimSpace(value)
	if !begins || !ends || !both || len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"' {
		return promql.FPoint{}, errMalformed
	}
	t, err1 := strconv.ParseFloat(string(bytes.TrimSpace(at)), 64)
	v, err2 := strconv.ParseFloat(string(value[1:len(value)-1]), 64)
	if err := errors.Join(err1, err2); err != nil || math.Abs(t) > 1e12 {
		return promql.FPoint{}, errMalformed
	}
	return promql.FPoint{T: int64(math.Round(t * 1000)), F: v}, nil
}
