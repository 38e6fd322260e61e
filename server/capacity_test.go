package server_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/server"
	"github.com/clanmon/clanmon/server/capacity"
	"github.com/clanmon/clanmon/server/servertest"
)

// writeDays writes some days of series, whose values are of an age in days.
func writeDays(t *testing.T, dir string, days int, value func(days float64) float64, all ...labels.Labels) {
	t.Helper()
	const step = 5 * time.Minute
	w, err := tsdb.NewBlockWriter(promslog.NewNopLogger(), dir, int64(days+1)*24*time.Hour.Milliseconds())
	require.NoError(t, err)
	app := w.Appender(t.Context())
	for age := time.Duration(days) * 24 * time.Hour; age > step; age -= step {
		for _, ls := range all {
			_, err = app.Append(0, ls, time.Now().Add(-age).UnixMilli(), value(age.Hours()/24))
			require.NoError(t, err)
		}
	}
	require.NoError(t, app.Commit())
	_, err = w.Flush(t.Context())
	require.NoError(t, err)
	require.NoError(t, w.Close())
}

// The page Capacity and Fleet say the same, with the built-in rules and as a drop-in for
// Prometheus; after a restart they say it at once.
func TestCapacityIsTheSameOnAllPages(t *testing.T) {
	const gb = 1e9
	for name, x := range map[string]struct{ builtin, label, machine string }{
		"built-in rules":    {"on", ", labels: {machine: web}", "web"},
		"own configuration": {"off", "", "box"},
	} {
		t.Run(name, func(t *testing.T) {
			text := fmt.Sprintf(`node_filesystem_size_bytes{device="/dev/vda",fstype="ext4",mountpoint="/"} %[1]d
node_filesystem_size_bytes{device="/dev/vda",fstype="ext4",mountpoint="/nix/store"} %[1]d
node_filesystem_avail_bytes{device="/dev/vda",fstype="ext4",mountpoint="/"} %[2]d
node_filesystem_avail_bytes{device="/dev/vda",fstype="ext4",mountpoint="/nix/store"} %[2]d
node_filesystem_readonly{device="/dev/vda",fstype="ext4",mountpoint="/"} 0
node_filesystem_readonly{device="/dev/vda",fstype="ext4",mountpoint="/nix/store"} 1
node_uname_info{nodename="box",release="6.12.30"} 1
`, int(100*gb), int(20*gb))
			e := newExporter(t, text)
			config := fmt.Sprintf("scrape_configs: [{job_name: node, scrape_interval: 1s, static_configs: [{targets: ['%s']%s}]}]", e.address, x.label)
			series := func(metric string) labels.Labels {
				ls := labels.NewBuilder(labels.FromStrings("__name__", metric, "job", "node", "instance", e.address, "device", "/dev/vda", "fstype", "ext4", "mountpoint", "/"))
				if x.label != "" {
					ls.Set("machine", x.machine)
				}
				return ls.Labels()
			}
			o := func(o *server.Options) { o.Rules.Builtin = x.builtin }
			s := servertest.Start(t, config, func(opts *server.Options) {
				o(opts)
				writeDays(t, opts.Dir, 8, func(days float64) float64 { return (20 + 2*days) * gb }, series("node_filesystem_avail_bytes"))
				writeDays(t, opts.Dir, 8, func(float64) float64 { return 0 }, series("node_filesystem_readonly"))
			})
			look := func(s *servertest.Server) (all []capacity.Row, fleet float64) {
				require.Eventually(t, func() bool {
					var a struct{ Data capacity.Answer }
					_, body := s.Get("/api/clanmon/v1/capacity?machine=" + x.machine)
					require.NoError(t, json.Unmarshal([]byte(body), &a), body)
					if len(a.Data.Rows) == 0 {
						return false // it is not scraped yet; Fleet reads its values rarely
					}
					var f struct {
						Data struct {
							Rows []struct {
								Name string
								Full *float64
							}
						}
					}
					_, body = s.Get("/api/clanmon/v1/fleet")
					require.NoError(t, json.Unmarshal([]byte(body), &f), body)
					for _, r := range f.Data.Rows {
						if r.Name == x.machine && r.Full != nil {
							all, fleet = a.Data.Rows, *r.Full
							return true
						}
					}
					return false
				}, time.Minute, 200*time.Millisecond)
				return all, fleet
			}
			check := func(s *servertest.Server) {
				t.Helper()
				all, fleet := look(s)
				require.Len(t, all, 1, "a volume has one row, wherever it is mounted")
				r := all[0]
				require.Equal(t, "filesystem / /dev/vda "+x.machine, fmt.Sprint(r.Kind, " ", r.Name, " ", r.Device, " ", r.Machine))
				require.InDelta(t, float64(time.Now().Add(10*24*time.Hour).Unix()), *r.Due, 7200)
				require.InDelta(t, *r.Due, fleet, 120)
				require.Equal(t, []float64{100 * gb, 80 * gb}, []float64{*r.Size, *r.Used})
				require.InDelta(t, 2*gb, *r.Growth.Week, gb/100)
				require.Nil(t, r.Growth.Month, "there are 8 days of data")
				require.Equal(t, "7d", r.Trend)
			}
			check(s)
			require.NoError(t, s.Stop())
			dir := s.Options.Dir
			s = servertest.Start(t, config, func(opts *server.Options) { o(opts); opts.Dir = dir })
			check(s)
			code, body := s.Get("/api/clanmon/v1/capacity/other")
			require.Equal(t, 404, code, body)
		})
	}
}
