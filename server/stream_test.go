package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/server/servertest"
)

// A page that follows the stream learns that a machine is down, by the cursor that the
// rows have then.
func TestStream(t *testing.T) {
	t.Parallel()
	exporter := newExporter(t, nodeText("a"))
	s := servertest.Start(t, quick+fmt.Sprintf("scrape_configs:\n- job_name: x\n  static_configs: [{targets: [%q], labels: {machine: m}}]\n", exporter.address), nil)
	rowsWhen(t, s, func(c *assert.CollectT, rows map[string]row) {
		require.Equal(c, 1, rows["m"].Up)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL("/api/clanmon/v1/stream"), nil)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Equal(t, "text/event-stream", res.Header.Get("Content-Type"))
	require.Empty(t, res.Header.Get("Content-Encoding"))
	lines := bufio.NewScanner(res.Body)
	next := func() (versions map[string]string) {
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok && data != "{}" {
				require.NoError(t, json.Unmarshal([]byte(data), &versions))
				return versions
			}
		}
		return nil
	}

	// What pages ask for is there, with its own ETag.
	first := next()
	for _, path := range []string{
		"/api/v2/alerts?filter=severity%21%3D%22none%22", "/api/v2/silences", "/api/clanmon/v1/backfill", "/api/clanmon/v1/checks", "/api/clanmon/v1/fleet",
		"/api/clanmon/v1/notifications", "/api/clanmon/v1/pair", "/api/clanmon/v1/receivers",
	} {
		require.Contains(t, first, path)
	}
	got, err := http.Get(s.URL("/api/v2/silences"))
	require.NoError(t, err)
	got.Body.Close()
	require.Equal(t, `W/"`+first["/api/v2/silences"]+`"`, got.Header.Get("ETag"))

	exporter.Close()
	for down := false; !down; {
		now := next()
		require.NotNil(t, now, "the stream ended before it had the machine that is down")
		a := fleetOf(t, s, "")
		down = a.Rows[0].State == "down" && rowsOf(a.Cursor) == rowsOf(now["/api/clanmon/v1/fleet"])
	}
}

// rowsOf is the part of a cursor that is about rows: a notice may count seconds.
func rowsOf(cursor string) string {
	return cursor[:max(0, strings.LastIndex(cursor, "-"))]
}
