package push

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/golang/snappy"
	"google.golang.org/protobuf/encoding/protowire"

	wire "github.com/clanmon/clanmon/internal/history"
)

// reserved are labels that the sender and the receiver set. A metric that has one of its own
// keeps it under another name, as in a scrape: node_uname_info has the label machine.
var reserved = []string{"job", "instance", "machine", "availability"}

// batch is what a request has: samples by series.
type batch struct {
	instances map[string]string // by kind; others are not sent
	index     map[string]int    // by key
	all       []series
	samples   int
	backlog   bool // it is not the newest gather
}

type series struct {
	labels  []label // sorted by name
	samples []sample
}

type label struct{ name, value string }

type sample struct {
	time int64
	bits uint64
}

func newBatch(instances map[string]string) *batch {
	return &batch{instances: instances, index: make(map[string]int)}
}

// add adds a sample of the series with this key of a history.
func (b *batch) add(t int64, key string, bits uint64) error {
	i, known := b.index[key]
	if !known {
		labels, err := labelsOf(key, b.instances)
		if err != nil {
			return err
		}
		i = -1
		if labels != nil {
			i = len(b.all)
			b.all = append(b.all, series{labels: labels})
		}
		b.index[key] = i
	}
	if i >= 0 {
		b.all[i].samples = append(b.all[i].samples, sample{t, bits})
		b.samples++
	}
	return nil
}

// divisible reports whether halves may be accepted where the whole is too large.
func (b *batch) divisible() bool { return b.samples > minSamples && len(b.all) > 1 }

// halves are two batches with half of the series each.
func (b *batch) halves() (first, second *batch) {
	part := func(all []series) *batch {
		p := &batch{all: all, backlog: b.backlog}
		for _, s := range all {
			p.samples += len(s.samples)
		}
		return p
	}
	n := len(b.all) / 2
	return part(b.all[:n]), part(b.all[n:])
}

// labelsOf are the labels of a series; none if its kind is not sent.
func labelsOf(key string, instances map[string]string) ([]label, error) {
	kind, rest, err := wire.CutString(key)
	if err != nil {
		return nil, err
	}
	instance, sent := instances[kind]
	if !sent {
		return nil, nil
	}
	labels := []label{{"job", kind}, {"instance", instance}}
	for rest != "" {
		var l label
		if l.name, rest, err = wire.CutString(rest); err == nil {
			l.value, rest, err = wire.CutString(rest)
		}
		if err != nil {
			return nil, err
		}
		if slices.Contains(reserved, l.name) {
			l.name = "exported_" + l.name
		}
		labels = append(labels, l)
	}
	slices.SortFunc(labels, func(a, b label) int { return strings.Compare(a.name, b.name) })
	for i := 1; i < len(labels); i++ {
		if labels[i].name == labels[i-1].name {
			return nil, fmt.Errorf("a series has the label %s twice", labels[i].name)
		}
	}
	return labels, nil
}

// encode returns a request of remote write 1.0 or 2.0, compressed.
func (b *batch) encode(version int) []byte {
	var out []byte
	if version == 1 {
		out = b.encode1()
	} else {
		out = b.encode2()
	}
	return snappy.Encode(nil, out)
}

// message appends a field that consists of fields.
func message(to []byte, field protowire.Number, content []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(to, field, protowire.BytesType), content)
}

func text(to []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(to, field, protowire.BytesType), s)
}

// appendSamples appends the field samples of a series, which is the same in both versions.
func appendSamples(to []byte, samples []sample) []byte {
	var one []byte
	for _, s := range samples {
		one = protowire.AppendFixed64(protowire.AppendTag(one[:0], 1, protowire.Fixed64Type), s.bits)
		one = protowire.AppendVarint(protowire.AppendTag(one, 2, protowire.VarintType), uint64(s.time))
		to = message(to, 2, one)
	}
	return to
}

// encode1 returns a prometheus.WriteRequest.
func (b *batch) encode1() []byte {
	var out, one, pair []byte
	for _, s := range b.all {
		one = one[:0]
		for _, l := range s.labels {
			pair = text(text(pair[:0], 1, l.name), 2, l.value)
			one = message(one, 1, pair)
		}
		out = message(out, 1, appendSamples(one, s.samples))
	}
	return out
}

// encode2 returns an io.prometheus.write.v2.Request.
func (b *batch) encode2() []byte {
	out := text(nil, 4, "") // the first symbol is always empty
	symbols := map[string]uint64{"": 0}
	refs := make([][]byte, len(b.all))
	for i, s := range b.all {
		for _, l := range s.labels {
			for _, t := range []string{l.name, l.value} {
				ref, known := symbols[t]
				if !known {
					ref = uint64(len(symbols))
					symbols[t] = ref
					out = text(out, 4, t)
				}
				refs[i] = binary.AppendUvarint(refs[i], ref)
			}
		}
	}
	var one []byte
	for i, s := range b.all {
		one = appendSamples(message(one[:0], 1, refs[i]), s.samples)
		out = message(out, 5, one)
	}
	return out
}
