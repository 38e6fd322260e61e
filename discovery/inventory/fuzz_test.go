package inventory

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzParse(f *testing.F) {
	for _, text := range []string{
		`{"machines": {"a": {"host": "a.example.org", "tags": ["x"], "exporters": {"node": {"port": 9100}}}}}`,
		`{"machines": {"a": {"hosts": ["10.0.0.1", "fd00::1"], "exporters": {"node": {}}}, "b": {"host": "10.0.0.1", "exporters": {"node": {}}}}}`,
		`{"machines": {"": {}, "a\u0000": {"host": "http://x"}, "b": 1, "c": null, "d": []}}`,
		`{"machines": {"a": {"host": "[::1]:9", "exporters": {"node": {"port": 99999999999}}}}} x`, `{}`, `null`, `[`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		machines, refused, err := parse(text)
		for _, r := range refused {
			require.NotEmpty(t, r.Reason)
			require.NotEmpty(t, r.Entry)
		}
		if err != nil {
			require.Empty(t, machines)
			require.NotEmpty(t, err.Error())
		}
		for name, m := range machines {
			require.NoError(t, m.check(name), "what was taken is right")
		}
	})
}
