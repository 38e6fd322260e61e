package flagbound

import (
	"regexp"
	"slices"
	"testing"

	"github.com/alecthomas/kingpin/v2"
	"github.com/stretchr/testify/require"
)

var (
	on    = kingpin.Flag("collector.test", "As an embedded exporter registers it.").Default("true").Bool()
	count = kingpin.Flag("collector.test.count", "Its setting.").Default("3").Int()
)

// One test, for the global application is parsed once.
func TestParsedOnce(t *testing.T) {
	require.Zero(t, *count, "nothing has been parsed yet")

	err := Parse([]string{"--collector.test.count=many"})
	var wrong *Error
	require.ErrorAs(t, err, &wrong)
	require.Error(t, Parse([]string{"--collector.tset"}), "unknown, and the process still lives")
	require.Error(t, Parse([]string{"--help=x"}))

	require.NoError(t, Parse(nil))
	require.True(t, *on)
	require.Equal(t, 3, *count, "the default holds also without arguments")

	require.NoError(t, Parse(nil), "a second exporter in this process")
	require.ErrorContains(t, Parse([]string{"--no-collector.test"}), "already")
	require.True(t, *on)
}

func TestFlagsAreTheEmbeddedOnes(t *testing.T) {
	var names []string
	for _, f := range Flags() {
		names = append(names, f.Name)
	}
	slices.Sort(names)
	require.Equal(t, []string{"collector.test", "collector.test.count"}, names)
}

func TestConstruct(t *testing.T) {
	made, err := Construct(func() (int, error) { return 7, nil })
	require.NoError(t, err)
	require.Equal(t, 7, made)

	broken := "(" // not a constant, which the linter would refuse
	_, err = Construct(func() (*regexp.Regexp, error) { return regexp.MustCompile(broken), nil })
	var wrong *Error
	require.ErrorAs(t, err, &wrong)
	require.ErrorContains(t, err, "missing closing )")
}
