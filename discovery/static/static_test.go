package static

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	for text, want := range map[string][]Target{
		"node=web1":                      {{"node", "web1", "web1", 9100, Flag}},
		"node=web1.example.org:9200":     {{"node", "web1", "web1.example.org", 9200, Flag}},
		"redis=cache@10.0.0.7, 10.0.0.8": {{"redis", "cache", "10.0.0.7", 9121, Flag}, {"redis", "10.0.0.8", "10.0.0.8", 9121, Flag}},
		"mine=[fd00::1]:80":              {{"mine", "fd00::1", "fd00::1", 80, Flag}},
		"node=[::1],fe80@[fe80::1%eth0]": {{"node", "::1", "::1", 9100, Flag}, {"node", "fe80", "fe80::1%eth0", 9100, Flag}},
		"systemd=db@[fd00::2]":           {{"systemd", "db", "fd00::2", 9558, Flag}},
		"postgres=WEB1.EXAMPLE.ORG":      {{"postgres", "web1", "WEB1.EXAMPLE.ORG", 9187, Flag}},
		"node=100.64.0.9,web_2.lan:9100": {{"node", "100.64.0.9", "100.64.0.9", 9100, Flag}, {"node", "web_2", "web_2.lan", 9100, Flag}},
	} {
		got, err := Parse(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
}

// Every mistake is named with the place and what would be right.
func TestParseMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"web1":              "JOB=[NAME@]HOST",
		"no de=web1":        `job name "no de"`,
		"web=host1":         `job "web" has no default port`,
		"node=":             "the host is missing",
		"node=web1,":        "the host is missing",
		"node=web1:":        "the port is missing",
		"node=web1:http":    `port "http"`,
		"node=web1:99999":   "port 99999",
		"node=fd00::1":      "brackets",
		"node=[fd00::1":     "[IPv6]",
		"node=[web1]:9100x": `port "9100x"`,
		"node=a b@web1":     `machine name "a b"`,
		"node=@web1":        `machine name ""`,
		"node=http://web1":  `port "//web1"`,
		"node=we\"b1":       "neither a host name",
	} {
		_, err := Parse(text)
		require.ErrorContains(t, err, want, text)
	}
}

func TestTwoMachinesOfOneName(t *testing.T) {
	targets, err := Parse("node=web1.a.org,web1.b.org")
	require.NoError(t, err)
	_, err = Parts(targets)
	require.ErrorContains(t, err, `both named "web1"`)
	targets, err = Parse("node=a@10.0.0.1,b@10.0.0.1:9100")
	require.NoError(t, err)
	_, err = Parts(targets)
	require.ErrorContains(t, err, `job "node": 10.0.0.1:9100 has two names, "a" and "b"`)
	targets, err = Parse("node=web1.a.org,web1.a.org:9100,web1.a.org:9200")
	require.NoError(t, err)
	parts, err := Parts(targets)
	require.NoError(t, err)
	require.Len(t, parts, 2, "the same one twice is one; another port is another")
}
