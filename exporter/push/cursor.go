package push

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/clanmon/clanmon/internal/atomicfile"
)

// never is a time before all others.
const never = math.MinInt64

const (
	cursorVersion = 1
	// maxMissing bounds the cursor. A link that fails all the time makes gaps one.
	maxMissing = 200
)

// cursor is what a receiver has acknowledged: all gathers up to Newest but those that are
// inside of Missing. Gathers are known by their times, in Unix milliseconds.
type cursor struct {
	Version int    `json:"version"`
	URL     string `json:"url"`
	Newest  int64  `json:"newest"`
	Missing []gap  `json:"missing"` // sorted, apart from each other
}

// gap are the times after the first and before the second.
type gap [2]int64

// cursorFile is where the cursor of a receiver is.
func cursorFile(dir, url string) string {
	sum := sha256.Sum256([]byte(url))
	return filepath.Join(dir, fmt.Sprintf("push-%x.json", sum[:8]))
}

// loadCursor reads a cursor. known is false if there is none, and the error says why one
// cannot be used.
func loadCursor(file, url string) (c cursor, known bool, err error) {
	c = cursor{Version: cursorVersion, URL: url, Newest: never}
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return c, false, nil
	}
	var read cursor
	if err == nil {
		err = json.Unmarshal(content, &read)
	}
	switch {
	case err != nil:
		return c, false, fmt.Errorf("%s: %w", file, err)
	case read.Version != cursorVersion:
		return c, false, fmt.Errorf("%s: it is of version %d, and this program knows %d", file, read.Version, cursorVersion)
	case !read.valid():
		return c, false, fmt.Errorf("%s: its times contradict each other", file)
	}
	read.URL = url
	return read, true, nil
}

func (c *cursor) valid() bool {
	last := int64(never)
	for i, g := range c.Missing {
		if g[0] >= g[1] || i > 0 && g[0] < last || g[1] > c.Newest {
			return false
		}
		last = g[1]
	}
	return true
}

func (c *cursor) save(file string) error {
	return atomicfile.Write(file, 0o600, func(w io.Writer) error { return json.NewEncoder(w).Encode(c) })
}

// sent notes that the gather of time t is acknowledged, whose predecessor is of time before.
func (c *cursor) sent(t, before int64) {
	if t <= c.Newest {
		return
	}
	if before > c.Newest {
		c.Missing = append(c.Missing, gap{c.Newest, t})
	}
	c.Newest = t
	if n := len(c.Missing); n > maxMissing {
		c.Missing[1][0] = c.Missing[0][0]
		c.Missing = slices.Delete(c.Missing, 0, 1)
	}
}

// filled notes that the gathers of a gap are acknowledged up to time t. It reports whether
// there still is such a gap.
func (c *cursor) filled(g gap, t int64) bool {
	i := slices.Index(c.Missing, g)
	switch {
	case i < 0:
		return false
	case t+1 >= g[1]:
		c.Missing = slices.Delete(c.Missing, i, i+1)
	default:
		c.Missing[i][0] = t
	}
	return true
}

// void notes that nothing after time t is acknowledged. It reports whether that is new.
func (c *cursor) void(t int64) bool {
	if t >= c.Newest {
		return false
	}
	c.Newest = t
	for i, g := range c.Missing {
		if g[1] > t {
			c.Newest = min(t, g[0])
			c.Missing = slices.Delete(c.Missing, i, len(c.Missing))
			break
		}
	}
	return true
}

// pending reports whether the gather of time t is not acknowledged.
func (c *cursor) pending(t int64) bool {
	return t > c.Newest || slices.ContainsFunc(c.Missing, func(g gap) bool { return t > g[0] && t < g[1] })
}

// seconds are how much time the gaps cover.
func (c *cursor) seconds(oldest int64) float64 {
	var sum int64
	for _, g := range c.Missing {
		sum += max(0, g[1]-max(g[0], oldest))
	}
	return float64(sum) / 1000
}
