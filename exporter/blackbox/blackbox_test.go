package blackbox

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatMayBeProbed(t *testing.T) {
	require.False(t, Config{}.Allows("a", "80"), "nothing by default")
	require.True(t, Config{File: "f"}.Allows("a", "80"), "anything with a file, as upstream")
	require.False(t, Config{File: "f", Allow: []string{"b"}}.Allows("a", "80"))
	for _, tc := range []struct {
		pattern, host, port string
		allows, names       bool
	}{
		{"a.example.org", "A.example.ORG", "443", true, true},
		{"a.example.org:443", "a.example.org", "443", true, true},
		{"a.example.org:443", "a.example.org", "80", false, false},
		{"a.example.org:443", "a.example.org", "", false, false},
		{"*.example.org", "a.example.org", "443", true, false},
		{"*.example.org", "a.example.org.evil", "443", false, false},
		{"*", "anything", "", true, false},
		{"*", "/run/x.sock", "", true, false},
		{"/run/*.sock", "/run/x.sock", "", true, false},
		{"10.0.0.*:22", "10.0.0.9", "22", true, false},
		{"169.254.169.254", "169.254.169.254", "80", true, true},
		{"fd00::1", "fd00::1", "80", true, true},
		{"[fd00::1]:80", "fd00::1", "80", true, true},
		{"[fd00::1]", "fd00::1", "", true, true},
		{"[fd00::1]:80", "f", "", false, false},
	} {
		c := Config{Allow: []string{tc.pattern}}
		require.NoError(t, c.Check())
		require.Equal(t, tc.allows, c.Allows(tc.host, tc.port), "%+v", tc)
		require.Equal(t, tc.names, c.Names(tc.host, tc.port), "%+v", tc)
	}
	for pattern, want := range map[string]string{"": "is empty", "[": "is not a pattern", "https://a": "is a URL"} {
		require.ErrorContains(t, Config{Allow: []string{pattern}}.Check(), want)
	}
}
