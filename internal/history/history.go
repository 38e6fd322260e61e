// Package history is how an exporter's history is written: the file format of
// "clanmon exporter --history", and what it sends to a server that missed some of it.
//
// A stream begins with Header and consists of records. A record is one gather: the value
// of each series at one time. The first record defines all series and has their values;
// each later one defines new series only, and has the differences to the record before.
// Most series of a machine do not change between two gathers, so a record of 1,500 series
// takes about 2 kB. Streams begin anew every hour or so, because a record cannot be read
// without those before it.
//
// A record is framed by its length and a checksum (CRC-32C), 4 bytes each, little endian:
//
//	type      byte, Gather or End
//	time      varint, Unix milliseconds
//	count     uvarint, the number of new series
//	series    count times: uvarint length, key (see AppendString)
//	values    for the series in the order of their definition, as uvarints; the lowest two
//	          bits say what the rest is:
//	            same      the number of series in a row whose value is that before
//	            absent    the number of series in a row that have no value
//	            integer   the difference of two integers, zigzag
//	            float     the number of zeros at the end of the difference (XOR) of the bits
//	                      of two floats; the difference without them follows as a uvarint
//
// Series that are not listed at the end have no value. A series that ended has one more
// value, StaleNaN. The value before the first is 0.
package history

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"math/bits"
	"slices"
)

// Header begins each stream. A stream of another version begins with something else.
const Header = "clanmon history 1\n"

// Path is where an exporter serves its history, and ContentType what it serves it as.
const (
	Path        = "/history"
	ContentType = "application/vnd.clanmon.history"
	// TimeHeader has the time of the machine's clock, in Unix milliseconds.
	TimeHeader = "X-Clanmon-Time"
	// NewestHeader is of a server that a machine pushes to, and has the time of the newest
	// sample that the server had of it before, in the same unit; 0 if it had none.
	NewestHeader = "X-Clanmon-Push-Newest"
	// BacklogHeader is of a request of a machine that pushes: 1 if what is new does not wait
	// for it.
	BacklogHeader = "X-Clanmon-Push-Backlog"
)

// Types of records.
const (
	Gather byte = 1
	End    byte = 2 // of a response: nothing is missing
)

// Limits of what is read and written.
const (
	MaxRecord = 32 << 20 // bytes
	maxSeries = 1 << 20  // of one stream
)

// StaleNaN is the bits of the value that ends a series, as Prometheus has it.
const StaleNaN uint64 = 0x7ff0000000000002

// normalNaN is every other value that is not a number.
const normalNaN uint64 = 0x7ff8000000000001

// ErrTorn says that a record is incomplete or damaged.
var ErrTorn = errors.New("incomplete or damaged record")

const (
	opSame = iota
	opAbsent
	opInteger
	opFloat
)

const frameSize = 8

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendString adds a part of a series' key. The first part is the kind of the exporter,
// then come names and values of labels in turn.
func AppendString(key []byte, s string) []byte {
	return append(binary.AppendUvarint(key, uint64(len(s))), s...)
}

// CutString reads what AppendString wrote, and returns the rest of the key.
func CutString(key string) (s, rest string, err error) {
	n, size := uvarint(key)
	if size <= 0 || n > uint64(len(key)-size) {
		return "", "", fmt.Errorf("key of a series %.40q: %w", key, ErrTorn)
	}
	return key[size : size+int(n)], key[size+int(n):], nil
}

func uvarint(s string) (uint64, int) {
	var x uint64
	for i := range min(len(s), binary.MaxVarintLen64) {
		x |= uint64(s[i]&0x7f) << (7 * i)
		if s[i] < 0x80 {
			return x, i + 1
		}
	}
	return 0, 0
}

// series is what both ends know about one of a stream.
type series struct {
	key   string
	last  uint64 // bits of the value before; 0 if there is none
	alive bool   // it had a value in the record before, other than StaleNaN

	now  uint64 // of the Writer: the value in the next record
	seen bool   // whether there is one
}

// A Writer writes records. Begin, Add, Encode and Commit make one; Restart begins a new
// stream. Not safe for concurrent use.
type Writer struct {
	all     []series
	index   map[string]int
	defined int // how many the stream knows
	next    int // the likely place of the next series
	time    int64
	buf     []byte
}

// NewWriter returns a Writer at the beginning of a stream.
func NewWriter() *Writer { return &Writer{index: make(map[string]int)} }

// Begin begins a record of time t, in Unix milliseconds.
func (w *Writer) Begin(t int64) {
	w.time, w.next = t, 0
	for i := range w.all {
		w.all[i].seen = false
	}
}

// Add adds the value of a series. Of several values of a series the first counts.
func (w *Writer) Add(key []byte, v float64) {
	i := w.next
	if i >= len(w.all) || w.all[i].key != string(key) {
		var known bool
		if i, known = w.index[string(key)]; !known {
			i = len(w.all)
			w.all = append(w.all, series{key: string(key)})
			w.index[w.all[i].key] = i
		}
	}
	w.next = i + 1
	if s := &w.all[i]; !s.seen {
		s.seen, s.now = true, math.Float64bits(v)
		if v != v && s.now != StaleNaN {
			s.now = normalNaN
		}
	}
}

// Encode returns the record with its frame. It is valid until the next call. Nothing has
// changed until Commit.
func (w *Writer) Encode() ([]byte, error) {
	b := append(w.buf[:0], make([]byte, frameSize)...)
	b = append(b, Gather)
	b = binary.AppendVarint(b, w.time)
	b = binary.AppendUvarint(b, uint64(len(w.all)-w.defined))
	for _, s := range w.all[w.defined:] {
		b = AppendString(b, s.key)
	}
	op, run := opSame, uint64(0)
	flush := func() {
		if run > 0 {
			b = binary.AppendUvarint(b, run<<2|uint64(op))
		}
		run = 0
	}
	count := func(o int) {
		if o != op {
			flush()
			op = o
		}
		run++
	}
	for i := range w.all {
		switch value, some := w.all[i].value(); {
		case !some:
			count(opAbsent)
		case value == w.all[i].last:
			count(opSame)
		default:
			flush()
			b = appendChange(b, w.all[i].last, value)
		}
	}
	if op == opSame {
		flush()
	}
	w.buf = b
	if len(b)-frameSize > MaxRecord || len(w.all) > maxSeries {
		return nil, fmt.Errorf("%d series in %d bytes are too many for one record: the limits are %d and %d", len(w.all), len(b)-frameSize, maxSeries, MaxRecord)
	}
	return frame(b), nil
}

// value is that of the next record.
func (s *series) value() (v uint64, some bool) {
	switch {
	case s.seen:
		return s.now, true
	case s.alive:
		return StaleNaN, true
	}
	return 0, false
}

// Each calls use with what the next record has, until Commit.
func (w *Writer) Each(use func(key string, bits uint64)) {
	for i := range w.all {
		if v, some := w.all[i].value(); some {
			use(w.all[i].key, v)
		}
	}
}

func appendChange(b []byte, from, to uint64) []byte {
	x, isInt := integer(from)
	y, both := integer(to)
	if isInt && both {
		d := y - x
		return binary.AppendUvarint(b, uint64(d<<1^d>>63)<<2|opInteger)
	}
	xor := from ^ to
	zeros := bits.TrailingZeros64(xor)
	b = binary.AppendUvarint(b, uint64(zeros)<<2|opFloat)
	return binary.AppendUvarint(b, xor>>zeros)
}

// integer reports whether a float is an integer that keeps its bits as one.
func integer(b uint64) (int64, bool) {
	const limit = 1 << 53
	f := math.Float64frombits(b)
	if !(f >= -limit && f <= limit) {
		return 0, false
	}
	i := int64(f)
	return i, math.Float64bits(float64(i)) == b
}

// Commit says that the encoded record is part of the stream.
func (w *Writer) Commit() {
	for i := range w.all {
		s := &w.all[i]
		if v, some := s.value(); some {
			s.last, s.alive = v, v != StaleNaN
		}
	}
	w.defined = len(w.all)
}

// Restart begins a new stream, also in the middle of a record: Encode returns it in full
// then. Series that have ended are forgotten.
func (w *Writer) Restart() {
	kept := w.all[:0]
	for _, s := range w.all {
		if s.alive || s.seen {
			s.last = 0
			kept = append(kept, s)
		}
	}
	clear(w.all[len(kept):])
	w.all, w.defined, w.next = kept, 0, 0
	w.reindex()
}

func (w *Writer) reindex() {
	w.index = make(map[string]int, len(w.all))
	for i, s := range w.all {
		w.index[s.key] = i
	}
}

// frame fills in the first bytes of a record.
func frame(b []byte) []byte {
	binary.LittleEndian.PutUint32(b, uint32(len(b)-frameSize))
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[frameSize:], castagnoli))
	return b
}

// EndRecord is the last record of a response, with its frame.
func EndRecord() []byte { return frame(append(make([]byte, frameSize), End)) }

// A Value is that of a series at the time of a record.
type Value struct {
	Series int // its number in the stream, counted from 0
	Bits   uint64
}

// A Reader reads records of one stream. Not safe for concurrent use.
type Reader struct {
	r        io.Reader
	limit    int // of series
	keyLimit int // of bytes of their keys
	keys     int // bytes so far
	all      []series
	body     []byte
	values   []Value
}

// NewReader returns a Reader of a stream of at most limit series, whose keys have at most
// keyLimit bytes together. The error is io.EOF for an empty stream, and ErrVersion for one
// of another version.
func NewReader(r io.Reader, limit, keyLimit int) (*Reader, error) {
	head := make([]byte, len(Header))
	switch n, err := io.ReadFull(r, head); {
	case n == 0 && err == io.EOF:
		return nil, io.EOF
	case errors.Is(err, io.ErrUnexpectedEOF) && string(head[:n]) == Header[:n]:
		return nil, ErrTorn
	case err == nil && string(head) == Header:
		return &Reader{r: r, limit: min(limit, maxSeries), keyLimit: keyLimit}, nil
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return nil, err
	}
	return nil, ErrVersion
}

// ErrVersion says that a stream is of another version of this format, or something else.
var ErrVersion = errors.New("not a history of version 1")

// ErrLimit says that a stream has more than its Reader accepts.
var ErrLimit = errors.New("limit exceeded")

// Next reads a record. values are valid until the next call. The error is io.EOF at the
// end of the stream, or after End; it wraps ErrTorn if the record is damaged, and
// ErrLimit if there are too many series. Nothing can be read after an error.
func (r *Reader) Next() (t int64, values []Value, err error) {
	if err := r.readBody(); err != nil {
		return 0, nil, err
	}
	if len(r.body) == 1 && r.body[0] == End {
		return 0, nil, errEnd
	}
	p := parser{rest: r.body}
	if p.byte() != Gather {
		return 0, nil, fmt.Errorf("type of record: %w", ErrTorn)
	}
	t = p.varint()
	for n := p.uvarint(); n > 0 && p.err == nil; n-- {
		if len(r.all) == r.limit {
			return 0, nil, fmt.Errorf("more than %d series: %w", r.limit, ErrLimit)
		}
		key := p.bytes(p.uvarint())
		if r.keys += len(key); r.keys > r.keyLimit {
			return 0, nil, fmt.Errorf("more than %d bytes of names and labels: %w", r.keyLimit, ErrLimit)
		}
		r.all = append(r.all, series{key: string(key)})
	}
	r.values = r.values[:0]
	at := 0
	for len(p.rest) > 0 && p.err == nil {
		token := p.uvarint()
		n := token >> 2
		switch op := token & 3; {
		case op <= opAbsent && n > uint64(len(r.all)-at), op > opAbsent && at == len(r.all):
			return 0, nil, fmt.Errorf("more values than series: %w", ErrTorn)
		case op == opAbsent:
			for range n {
				r.all[at].alive = false
				at++
			}
		case op == opSame:
			for range n {
				r.found(at, r.all[at].last)
				at++
			}
		default:
			v, err := changed(&p, r.all[at].last, op, n)
			if err != nil {
				return 0, nil, err
			}
			r.found(at, v)
			at++
		}
	}
	return t, r.values, p.err
}

func (r *Reader) found(i int, v uint64) {
	r.all[i].last, r.all[i].alive = v, v != StaleNaN
	r.values = append(r.values, Value{i, v})
}

func changed(p *parser, last, op, n uint64) (uint64, error) {
	if op == opFloat {
		if n > 63 {
			return 0, fmt.Errorf("float: %w", ErrTorn)
		}
		return last ^ p.uvarint()<<n, nil
	}
	from, ok := integer(last)
	if !ok {
		return 0, fmt.Errorf("integer after a float: %w", ErrTorn)
	}
	return math.Float64bits(float64(from + (int64(n>>1) ^ -int64(n&1)))), nil
}

// errEnd is io.EOF for all but Ended.
var errEnd = fmt.Errorf("end record: %w", io.EOF)

// Ended reports whether err of Next says that a response was complete.
func Ended(err error) bool { return err == errEnd }

func (r *Reader) readBody() error {
	var head [frameSize]byte
	switch n, err := io.ReadFull(r.r, head[:]); {
	case n == 0 && err == io.EOF:
		return io.EOF
	case err != nil:
		return torn(err)
	}
	length := binary.LittleEndian.Uint32(head[:])
	if length == 0 || length > MaxRecord {
		return fmt.Errorf("length %d: %w", length, ErrTorn)
	}
	// What is announced is only believed as it arrives.
	r.body = r.body[:0]
	for len(r.body) < int(length) {
		n := min(int(length)-len(r.body), 1<<20)
		begin := len(r.body)
		r.body = slices.Grow(r.body, n)[:begin+n]
		if _, err := io.ReadFull(r.r, r.body[begin:]); err != nil {
			return torn(err)
		}
	}
	if crc32.Checksum(r.body, castagnoli) != binary.LittleEndian.Uint32(head[4:]) {
		return fmt.Errorf("checksum: %w", ErrTorn)
	}
	return nil
}

// torn is ErrTorn for a stream that ends too early; other errors stay what they are.
func torn(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrTorn
	}
	return err
}

// Series is how many series the stream has defined so far.
func (r *Reader) Series() int { return len(r.all) }

// Key is that of a series of the stream.
func (r *Reader) Key(series int) string { return r.all[series].key }

// Size is how many bytes a record took, with its frame.
func (r *Reader) Size() int { return frameSize + len(r.body) }

// Writer returns a Writer that continues the stream. The Reader must not be used after
// that.
func (r *Reader) Writer() *Writer {
	w := &Writer{all: r.all, defined: len(r.all)}
	w.reindex()
	return w
}

// parser reads the parts of a record. After an error everything is zero.
type parser struct {
	rest []byte
	err  error
}

func (p *parser) fail() { p.rest, p.err = nil, ErrTorn }

func (p *parser) byte() byte {
	if len(p.rest) == 0 {
		p.fail()
		return 0
	}
	b := p.rest[0]
	p.rest = p.rest[1:]
	return b
}

func (p *parser) uvarint() uint64 {
	x, n := binary.Uvarint(p.rest)
	if n <= 0 {
		p.fail()
		return 0
	}
	p.rest = p.rest[n:]
	return x
}

func (p *parser) varint() int64 {
	x, n := binary.Varint(p.rest)
	if n <= 0 {
		p.fail()
		return 0
	}
	p.rest = p.rest[n:]
	return x
}

func (p *parser) bytes(n uint64) []byte {
	if n > uint64(len(p.rest)) {
		p.fail()
		return nil
	}
	b := p.rest[:n]
	p.rest = p.rest[n:]
	return b
}
