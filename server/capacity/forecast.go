package capacity

import (
	"math"
	"slices"
	"time"
)

const day = 24 * time.Hour

// window is a time that a trend is looked for in. Its growth is the median of the growth of
// all spans in it. A step (a copied directory, a cache that was cleaned, a file system that
// was resized) changes only the spans that it is in, and what returns within a span (log
// rotation) does not count at all.
type window struct {
	name string
	// length is a multiple of span. reach is how far ahead its trend is believed: about four
	// times as long as it was seen.
	length, span, reach time.Duration
	// enough is how much of the window there must be data of.
	enough time.Duration
}

var windows = [...]window{
	{"6h", 6 * time.Hour, time.Hour, day, 4 * time.Hour},
	{"1d", day, 6 * time.Hour, 4 * day, 12 * time.Hour},
	{"7d", 7 * day, day, 28 * day, 2 * day},
	{"30d", 30 * day, 7 * day, 365 * day, 14 * day},
}

const (
	fewest = 4 // spans of a window
	// clearly is how much shorter a longer window has to say that something lasts, to be
	// believed more than a shorter one.
	clearly = 0.9
	// lasting is the first window whose growth is of interest where use goes up and down by
	// the hour, as that of memory does.
	lasting = 2
)

// trend is how what is left shrinks in a window, in units per second; known is false where
// there is too little data. low and high are the quartiles: half of all spans are between.
type trend struct {
	known             bool
	growth, low, high float64
}

// pair is a span: the indexes of its ends among the times of a grid.
type pair struct{ from, to int }

// spans are those of a window in times, which are Unix seconds, ascending.
func (w window) spans(times []int64) []pair {
	if len(times) == 0 {
		return nil
	}
	end, span := times[len(times)-1], int64(w.span.Seconds())
	var all []pair
	for to, t := range times {
		if t-span < end-int64(w.length.Seconds()) {
			continue
		}
		if from, ok := slices.BinarySearch(times, t-span); ok {
			all = append(all, pair{from, to})
		}
	}
	return all
}

// trend is that of what is left at times. rates is space to work in.
func (w window) trend(times []int64, spans []pair, left []float32, rates []float64) trend {
	rates = rates[:0]
	first, last := int64(math.MaxInt64), int64(0)
	for _, p := range spans {
		if rate := float64(left[p.from]-left[p.to]) / w.span.Seconds(); !math.IsNaN(rate) {
			rates = append(rates, rate)
			first, last = min(first, times[p.from]), max(last, times[p.to])
		}
	}
	if len(rates) < fewest || last-first < int64(w.enough.Seconds()) {
		return trend{}
	}
	slices.Sort(rates)
	at := func(part float64) float64 { return rates[int(part*float64(len(rates)-1)+0.5)] }
	return trend{true, at(0.5), at(0.25), at(0.75)}
}

// Forecast says how long what is left will last: Left in seconds, and a range. +Inf is for
// what is not used up within a year, NaN for what is not known. Window is the trend that
// says it: "6h", "1d", "7d" or "30d".
type Forecast struct {
	Left, Earliest, Latest float64
	Window                 string
}

// forecast takes the trend by which what is left now lasts the shortest, of those that are
// believed that far. from is the first window that counts.
func forecast(now float64, trends *[len(windows)]trend, from int, times []int64, left []float32) Forecast {
	if now <= 0 {
		return Forecast{0, 0, 0, ""}
	}
	f := Forecast{math.NaN(), math.NaN(), math.NaN(), ""}
	for i := from; i < len(windows); i++ {
		w, t := windows[i], trends[i]
		if !t.known {
			continue
		}
		if math.IsNaN(f.Left) {
			f = Forecast{math.Inf(1), math.Inf(1), math.Inf(1), ""}
		}
		lasts := now / t.growth
		if t.growth > 0 && lasts <= w.reach.Seconds() && lasts < clearly*f.Left && !w.returns(times, left) {
			f = Forecast{lasts, now / t.high, math.Inf(1), w.name}
			if t.low > 0 {
				f.Latest = now / t.low
			}
		}
	}
	return f
}

// returns reports whether use has been as high as now twice before, and has fallen again to
// where it was in the window: then its growth is one half of a cycle, such as that of files
// that are rotated. A single time may be somebody who cleaned up. All is compared as means
// over spans, so that cycles that are shorter do not count.
func (w window) returns(times []int64, left []float32) bool {
	if len(times) == 0 {
		return false
	}
	end, span := times[len(times)-1], int64(w.span.Seconds())
	means := make([]float64, int((end-times[0])/span)+1) // the latest first
	counts := make([]int, len(means))
	for i, t := range times {
		if v := float64(left[i]); !math.IsNaN(v) {
			means[(end-t)/span] += v
			counts[(end-t)/span]++
		}
	}
	for i := range means {
		means[i] /= float64(counts[i]) // NaN for none
	}
	now, most := means[0], means[0]
	for _, v := range means[:min(int(w.length/w.span), len(means))] {
		most = max(most, orLess(v))
	}
	fell, low := 0, false
	for _, v := range slices.Backward(means) {
		switch {
		case v <= now+(most-now)/10:
			low = true
		case low && v >= now+(most-now)*3/4:
			fell, low = fell+1, false
		}
	}
	return most > now && fell >= 2
}

func orLess(v float64) float64 {
	if math.IsNaN(v) {
		return math.Inf(-1)
	}
	return v
}
