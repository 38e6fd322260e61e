package history

import (
	"math"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"

	wire "github.com/clanmon/clanmon/internal/history"
)

// keyer turns metrics into series, as a scrape of their text does.
type keyer struct {
	kind string
	key  []byte
	add  func(key []byte, v float64)
}

// Families calls add for all series of the families of a kind.
func Families(kind string, families []*dto.MetricFamily, add func(key []byte, v float64)) {
	k := &keyer{kind: kind, add: add}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			k.metric(f, m)
		}
	}
}

func (k *keyer) metric(f *dto.MetricFamily, m *dto.Metric) {
	name := f.GetName()
	switch {
	case m.GetCounter() != nil:
		k.series(m, name, "", "", "", m.GetCounter().GetValue())
	case m.GetGauge() != nil:
		k.series(m, name, "", "", "", m.GetGauge().GetValue())
	case m.GetUntyped() != nil:
		k.series(m, name, "", "", "", m.GetUntyped().GetValue())
	case m.GetSummary() != nil:
		s := m.GetSummary()
		for _, q := range s.GetQuantile() {
			k.series(m, name, "", "quantile", float(q.GetQuantile()), q.GetValue())
		}
		k.series(m, name, "_sum", "", "", s.GetSampleSum())
		k.series(m, name, "_count", "", "", float64(s.GetSampleCount()))
	case m.GetHistogram() != nil:
		k.histogram(name, m)
	}
}

func (k *keyer) histogram(name string, m *dto.Metric) {
	h := m.GetHistogram()
	count := float64(h.GetSampleCount())
	if h.GetSampleCountFloat() > 0 {
		count = h.GetSampleCountFloat()
	}
	infinite := false
	for _, b := range h.GetBucket() {
		n := float64(b.GetCumulativeCount())
		if b.GetCumulativeCountFloat() > 0 {
			n = b.GetCumulativeCountFloat()
		}
		k.series(m, name, "_bucket", "le", float(b.GetUpperBound()), n)
		infinite = infinite || math.IsInf(b.GetUpperBound(), 1)
	}
	if !infinite {
		k.series(m, name, "_bucket", "le", "+Inf", count)
	}
	k.series(m, name, "_sum", "", "", h.GetSampleSum())
	k.series(m, name, "_count", "", "", count)
}

// series adds one, with one more label if it has a name.
func (k *keyer) series(m *dto.Metric, name, suffix, label, labelValue string, v float64) {
	key := wire.AppendString(k.key[:0], k.kind)
	key = wire.AppendString(key, "__name__")
	key = wire.AppendString(key, name+suffix)
	for _, l := range m.GetLabel() {
		if l.GetValue() == "" {
			continue // to Prometheus, there is no such label
		}
		key = wire.AppendString(key, l.GetName())
		key = wire.AppendString(key, l.GetValue())
	}
	if label != "" {
		key = wire.AppendString(key, label)
		key = wire.AppendString(key, labelValue)
	}
	k.key = key
	k.add(key, v)
}

// float is how Prometheus writes the values of le and quantile, whatever the exporter wrote.
func float(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "+Inf"
	case math.IsInf(f, -1):
		return "-Inf"
	case math.IsNaN(f):
		return "NaN"
	}
	s := strconv.FormatFloat(f, 'g', -1, 64)
	if !strings.ContainsAny(s, "e.") {
		s += ".0"
	}
	return s
}
