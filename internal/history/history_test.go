package history

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func key(i int) []byte {
	return AppendString(AppendString(AppendString(nil, "node"), "__name__"), fmt.Sprintf("metric_%d", i))
}

// write adds a record with the values to a stream.
func write(t testing.TB, w *Writer, at int64, values map[int]float64) []byte {
	t.Helper()
	w.Begin(at)
	for i := range 200 { // in the usual order
		if v, ok := values[i]; ok {
			w.Add(key(i), v)
		}
	}
	record, err := w.Encode()
	require.NoError(t, err)
	record = bytes.Clone(record)
	w.Commit()
	return record
}

// read returns the values of the next record, by the key of the series.
func read(t testing.TB, r *Reader) (int64, map[string]uint64) {
	t.Helper()
	at, values, err := r.Next()
	require.NoError(t, err)
	got := map[string]uint64{}
	for _, v := range values {
		got[r.Key(v.Series)] = v.Bits
	}
	require.Len(t, got, len(values), "a series has one value")
	return at, got
}

var special = []float64{0, math.Copysign(0, -1), 1, -1, math.Inf(1), math.Inf(-1), 1 << 53, -(1 << 53), 1<<53 + 2, math.MaxFloat64, math.SmallestNonzeroFloat64, 0.1, 1.7e9, 1e18}

// What is written is what is read, bit by bit, whatever comes, goes and comes back, with
// streams that begin anew and ones that another process continues.
func TestWhatIsWrittenIsRead(t *testing.T) {
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 1))
		stream := bytes.NewBufferString(Header)
		w := NewWriter()
		var r *Reader
		alive := map[string]bool{}
		for n := range 100 {
			values, want := map[int]float64{}, map[string]uint64{}
			for range random.IntN(100) {
				v := special[random.IntN(len(special))]
				switch random.IntN(4) {
				case 0:
					v = random.NormFloat64() * 1000
				case 1:
					v = float64(random.IntN(1000))
				}
				i := random.IntN(200)
				values[i], want[string(key(i))] = v, math.Float64bits(v)
			}
			if random.IntN(10) == 0 {
				values[7], want[string(key(7))] = math.NaN(), normalNaN
			}
			now := map[string]bool{}
			for k := range want {
				now[k] = true
			}
			for k := range alive {
				if !now[k] {
					want[k] = StaleNaN
				}
			}
			alive = now
			switch random.IntN(12) {
			case 0: // a stream begins anew
				w.Restart()
				stream, r = bytes.NewBufferString(Header), nil
			case 1: // another process goes on
				if r != nil {
					w, r = r.Writer(), nil
					w.Restart()
					stream = bytes.NewBufferString(Header)
				}
			}
			stream.Write(write(t, w, int64(n)*15_000-1, values))
			if r == nil {
				var err error
				r, err = NewReader(stream, 1000, 1<<20)
				require.NoError(t, err)
			}
			at, got := read(t, r)
			require.EqualValues(t, int64(n)*15_000-1, at)
			require.Equal(t, want, got, "seed %d, record %d", seed, n)
		}
	}
}

// A Reader becomes a Writer in the middle of a stream, and nobody who reads it notices.
func TestAStreamIsContinued(t *testing.T) {
	w := NewWriter()
	first := append([]byte(Header), write(t, w, 1, map[int]float64{1: 10, 2: 0.5})...)
	r, err := NewReader(bytes.NewReader(first), 10, 1<<20)
	require.NoError(t, err)
	read(t, r)
	all := append(first, write(t, r.Writer(), 2, map[int]float64{2: 0.75, 3: 3})...)

	r, err = NewReader(bytes.NewReader(append(all, EndRecord()...)), 10, 1<<20)
	require.NoError(t, err)
	read(t, r)
	_, got := read(t, r)
	require.Equal(t, map[string]uint64{string(key(1)): StaleNaN, string(key(2)): math.Float64bits(0.75), string(key(3)): math.Float64bits(3)}, got)
	_, _, err = r.Next()
	require.True(t, Ended(err))
}

// A record that could not be written is written in full into another stream, with the
// markers of what ended.
func TestARecordIsWrittenAgain(t *testing.T) {
	w := NewWriter()
	write(t, w, 1, map[int]float64{1: 10, 2: 20})
	w.Begin(2)
	w.Add(key(2), 21)
	_, err := w.Encode()
	require.NoError(t, err)
	w.Restart()
	record, err := w.Encode()
	require.NoError(t, err)
	r, err := NewReader(bytes.NewReader(append([]byte(Header), record...)), 10, 1<<20)
	require.NoError(t, err)
	_, got := read(t, r)
	require.Equal(t, map[string]uint64{string(key(1)): StaleNaN, string(key(2)): math.Float64bits(21)}, got)
}

// A stream that ends anywhere but between two records is torn, and one without an end
// record has not ended.
func TestTornStreams(t *testing.T) {
	w := NewWriter()
	stream := append([]byte(Header), write(t, w, 1, map[int]float64{1: 1.5})...)
	whole := len(stream)
	stream = append(stream, write(t, w, 2, map[int]float64{1: 2.5, 2: 3})...)
	for n := range stream {
		r, err := NewReader(bytes.NewReader(stream[:n]), 10, 1<<20)
		for err == nil {
			_, _, err = r.Next()
		}
		switch n {
		case 0, len(Header), whole:
			require.ErrorIs(t, err, io.EOF, "%d bytes", n)
			require.False(t, Ended(err))
		default:
			require.ErrorIs(t, err, ErrTorn, "%d bytes", n)
		}
	}
	for n := whole; n < len(stream); n++ {
		damaged := bytes.Clone(stream)
		damaged[n] ^= 0x10
		r, err := NewReader(bytes.NewReader(damaged), 10, 1<<20)
		require.NoError(t, err)
		_, _, err = r.Next()
		require.NoError(t, err)
		_, _, err = r.Next()
		require.ErrorIs(t, err, ErrTorn, "byte %d", n)
	}
	_, err := NewReader(bytes.NewReader([]byte("clanmon history 2\n")), 10, 1<<20)
	require.ErrorIs(t, err, ErrVersion)
	_, err = NewReader(bytes.NewReader([]byte("<html>")), 10, 1<<20)
	require.ErrorIs(t, err, ErrVersion)
}

func TestTooManySeries(t *testing.T) {
	record := write(t, NewWriter(), 1, map[int]float64{1: 1, 2: 2, 3: 3})
	r, err := NewReader(bytes.NewReader(append([]byte(Header), record...)), 2, 1<<20)
	require.NoError(t, err)
	_, _, err = r.Next()
	require.ErrorIs(t, err, ErrLimit)
	require.ErrorContains(t, err, "more than 2 series")
}

// The names and labels of all records count, because a Reader keeps them.
func TestTooManyNamesAndLabels(t *testing.T) {
	w := NewWriter()
	stream := append([]byte(Header), write(t, w, 1, map[int]float64{1: 1})...)
	stream = append(stream, write(t, w, 2, map[int]float64{2: 2})...)
	size := len(key(1))
	r, err := NewReader(bytes.NewReader(stream), 10, 2*size-1)
	require.NoError(t, err)
	_, _, err = r.Next()
	require.NoError(t, err)
	_, _, err = r.Next()
	require.ErrorIs(t, err, ErrLimit)
	require.ErrorContains(t, err, fmt.Sprintf("more than %d bytes", 2*size-1))

	r, err = NewReader(bytes.NewReader(stream), 10, 2*size)
	require.NoError(t, err)
	for range 2 {
		_, _, err = r.Next()
		require.NoError(t, err)
	}
}

// Whatever a machine sends, reading it ends, with bounded memory.
func FuzzReader(f *testing.F) {
	w := NewWriter()
	first := write(f, w, 1, map[int]float64{1: 1, 2: 0.25})
	f.Add(first[frameSize:], write(f, w, 2, map[int]float64{2: 7})[frameSize:])
	f.Fuzz(func(t *testing.T, one, two []byte) {
		stream := []byte(Header)
		for _, body := range [][]byte{one, two} {
			stream = append(stream, frame(append(make([]byte, frameSize), body...))...)
		}
		r, err := NewReader(bytes.NewReader(stream), 100, 1000)
		require.NoError(t, err)
		for range 3 {
			_, values, err := r.Next()
			if err != nil {
				require.True(t, errors.Is(err, ErrTorn) || errors.Is(err, io.EOF) || errors.Is(err, ErrLimit), err)
				return
			}
			for _, v := range values {
				for k := r.Key(v.Series); k != ""; {
					if _, k, err = CutString(k); err != nil {
						break
					}
				}
			}
		}
	})
}
