package exporter

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/exporter/look"
)

func TestPushOptions(t *testing.T) {
	to := func(texts ...string) (all []*url.URL) {
		for _, text := range texts {
			u, err := url.Parse(text)
			require.NoError(t, err)
			all = append(all, u)
		}
		return all
	}
	good := func() Options {
		return Options{
			Push:    PushOptions{URLs: to("https://hub:9090"), TokenFile: "token"},
			History: HistoryOptions{Keep: time.Hour, Interval: 15 * time.Second, MaxBytes: minHistoryBytes, Dir: "x"}, Logger: quiet(),
		}
	}
	require.NoError(t, Check(good()))
	for want, change := range map[string]func(*Options){
		"--push.config.file and --push.token-file need --push":                            func(o *Options) { o.Push.URLs = nil },
		"--push sends from the history: --history must not be 0":                          func(o *Options) { o.History = HistoryOptions{} },
		"--push needs a directory for what is not sent yet: set --history.path":           func(o *Options) { o.History.Dir = "" },
		"--push.config.file cannot be combined with --push.token-file":                    func(o *Options) { o.Push.ConfigFile = "c" },
		"--push.token-file and CLANMON_PUSH_TOKEN both set the token; remove one":         func(o *Options) { o.Push.Token = "t" },
		"--look needs a port, and with --push none is open by default":                    func(o *Options) { o.Look = look.Options{Enabled: true} },
		"--push https://me:xxxxx@hub: a password on the command line":                     func(o *Options) { o.Push.URLs = to("https://me:s3cret@hub") },
		`--push "hub:9090": it must be a URL such as https://hub:9090`:                    func(o *Options) { o.Push.URLs = to("hub:9090") },
		"--push https://hub/write is set twice":                                           func(o *Options) { o.Push.URLs = to("https://hub/write", "http://hub/write", "https://hub/write") },
		"--push.token-file: open " + filepath.Join(os.TempDir(), "none", "such") + ": no": nil,
	} {
		o := good()
		if change == nil { // files are not read by a check
			o.Push.TokenFile, o.History.Dir = filepath.Join(os.TempDir(), "none", "such"), t.TempDir()
			require.NoError(t, Check(o))
			_, err := New(o)
			require.ErrorContains(t, err, want)
			continue
		}
		change(&o)
		err := Check(o)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "s3cret")
	}
}

// Who only pushes listens nowhere; who is asked to listens too.
func TestListens(t *testing.T) {
	o := Options{}
	require.True(t, o.Listens())
	o.Push.URLs = []*url.URL{{Scheme: "http", Host: "hub"}}
	require.False(t, o.Listens())
	o.Listen = map[string][]string{"node": nil}
	require.False(t, o.Listens())
	o.Listen["node"] = []string{":9100"}
	require.True(t, o.Listens())
	o.Listen, o.SystemdSocket = nil, true
	require.True(t, o.Listens())
}
