package kindflags

import (
	"testing"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/stretchr/testify/require"
)

// parse declares one flag of each sort and parses args.
func parse(t *testing.T, args ...string) (s *Set, wait *time.Duration, on *bool, many *[]string) {
	t.Helper()
	app := kingpin.New("test", "").Terminate(nil)
	s = New(app)
	wait = s.Flag("wait", "WAIT", "How long.").Default("5s").Duration()
	on = s.Flag("on", "ON", "Whether.").Bool()
	many = s.Flag("many", "MANY", "Which.").Strings()
	_, err := app.Parse(args)
	require.NoError(t, err)
	return s, wait, on, many
}

func environment(variables map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := variables[name]
		return v, ok
	}
}

func TestEnvironmentFillsInWhatTheCommandLineLeavesOut(t *testing.T) {
	env := environment(map[string]string{"WAIT": "7s", "ON": "true", "MANY": "a\nb"})
	s, wait, on, many := parse(t)
	require.Equal(t, 5*time.Second, *wait, "not before it is asked for")
	require.NoError(t, s.Environment(env))
	require.Equal(t, 7*time.Second, *wait)
	require.True(t, *on)
	require.Equal(t, []string{"a", "b"}, *many)

	s, wait, on, many = parse(t, "--wait=9s", "--no-on", "--many=c")
	require.NoError(t, s.Environment(env))
	require.Equal(t, 9*time.Second, *wait)
	require.False(t, *on)
	require.Equal(t, []string{"c"}, *many)
}

func TestABadVariableIsNamedWithoutItsValue(t *testing.T) {
	s, _, _, _ := parse(t)
	err := s.Environment(environment(map[string]string{"WAIT": "hunter2"}))
	require.ErrorContains(t, err, "environment variable WAIT (for --wait)")
	require.NotContains(t, err.Error(), "hunter2")
	require.NoError(t, s.Environment(environment(map[string]string{"WAIT": ""})), "empty is not given")
}

func TestRefused(t *testing.T) {
	app := kingpin.New("test", "").Terminate(nil)
	New(app).Refuse("password", "everybody sees it")
	_, err := app.Parse([]string{"--password=hunter2"})
	require.ErrorContains(t, err, "everybody sees it")
	require.NotContains(t, err.Error(), "hunter2")
}
