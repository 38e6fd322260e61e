package exporter

import (
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// The cost of a scrape without HTTP around it:
//
//	go test ./exporter -run xxx -bench Scrape -benchmem -cpuprofile /tmp/cpu
//
// BENCH_REDIS is the address of a Redis, such as redis://127.0.0.1:6379.
func BenchmarkScrape(b *testing.B) {
	for _, kind := range []string{"node", "redis"} {
		b.Run(kind, func(b *testing.B) {
			o := Options{Kinds: []string{kind}, Logger: quiet()}
			if kind == "redis" {
				if o.Redis.Addr = os.Getenv("BENCH_REDIS"); o.Redis.Addr == "" {
					b.Skip("BENCH_REDIS is not set")
				}
			}
			handlers, err := Handlers(o)
			require.NoError(b, err)
			r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
			r.Header.Set("Accept", "text/plain;version=0.0.4")
			r.Header.Set("Accept-Encoding", "gzip")
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				handlers[kind].ServeHTTP(w, r)
				require.Equal(b, http.StatusOK, w.Code)
			}
		})
	}
}
