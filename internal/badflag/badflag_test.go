package badflag_test

import (
	"io"
	"testing"

	"github.com/alecthomas/kingpin/v2"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/internal/badflag"
)

func TestExplain(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"--a=x", `--a: time: invalid duration "x"`},
		{"--b=x", `--b: strconv.ParseFloat: parsing "x": invalid syntax`},
		{"--c=1", "unknown long flag '--c'"},
	} {
		app := kingpin.New("test", "").Terminate(nil).ErrorWriter(io.Discard).UsageWriter(io.Discard)
		app.Flag("a", "").Duration()
		app.Flag("b", "").Int()
		app.Flag("good", "").Duration()
		args := []string{"--good=1s", tc.args}
		_, err := app.Parse(args)
		require.Error(t, err)
		require.Equal(t, tc.want, badflag.Explain(app, args, err))
	}
}
