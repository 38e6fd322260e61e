package yamlerror

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v2"
)

func TestReadable(t *testing.T) {
	var f struct {
		Pings map[string]struct {
			Token string   `yaml:"token"`
			Names []string `yaml:"names"`
		} `yaml:"pings"`
	}
	for text, want := range map[string]string{
		"photos: {token: x}":                      "line 1: field photos is unknown; valid are pings.<name>.token",
		"pings: {a: {names: x}}":                  "line 1: cannot unmarshal !!str `x`: it must be a list",
		"pings: {a: {token: [x]}}":                "line 1: cannot unmarshal !!seq: it must be a string",
		"pings: {a: {token: b}, a: {token: c}}\n": `line 1: key "a" already set in map`,
	} {
		require.ErrorContains(t, Readable(yaml.UnmarshalStrict([]byte(text), &f), "pings.<name>.token"), want, text)
	}
}
