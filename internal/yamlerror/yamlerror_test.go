package yamlerror

import (
	"io"
	"testing"

	"github.com/prometheus/common/config"
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
		"pings: {a: {names: x}}":                  "line 1: cannot unmarshal !!str: it must be a list",
		"pings: {a: {token:s3cret}}":              "line 1: field … (': ' is missing after its name) is unknown; valid are",
		"pings: {a: *s3cret}":                     "a value that begins with '*' must be quoted",
		"pings: {a: !!int s3cret}":                "cannot decode !!str as a !!int",
		"pings: [s3cret, \"s`3 into cret\"]":      "line 1: cannot unmarshal !!seq: it must be a map",
		"pings: \"s`3 into cret\"":                "line 1: cannot unmarshal !!str: it must be a map",
		"pings: {a: {token: [x]}}":                "line 1: cannot unmarshal !!seq: it must be a string",
		"pings: {a: {token: b}, a: {token: c}}\n": `line 1: key "a" already set in map`,
	} {
		err := Readable(yaml.UnmarshalStrict([]byte(text), &f), "pings.<name>.token")
		require.ErrorContains(t, err, want, text)
		require.NotRegexp(t, "s3cret|s`3", err, text)
	}
}

// What a file says may be a secret.
func TestHide(t *testing.T) {
	for text, want := range map[string]string{
		"basic_auth: s3cret":                             "line 1: cannot unmarshal !!str into config.plain",
		"basic_auth: {password:s3cret}":                  "line 1: field … (': ' is missing after its name) not found in type",
		"basic_auth: {pasword: s3cret}":                  "line 1: field pasword not found in type",
		"basic_auth: {password: *s3cret}":                "a value that begins with '*' must be quoted",
		"proxy_url: \"http://u:s3cret/@proxy\"":          "not a URL: invalid port after host",
		"proxy_url: \"http://u:s3cret@%zz\"":             "not a URL: invalid URL escape",
		"a: s3cret\nb: [s3cret]\ntls_config: \"s3cret\"": "line 3: cannot unmarshal !!str into config.plain",
	} {
		var c config.HTTPClientConfig
		err := Hide(yaml.UnmarshalStrict([]byte(text), &c))
		require.ErrorContains(t, err, want, text)
		require.NotContains(t, err.Error(), "s3c", text)
	}
	require.NoError(t, Hide(nil))
	require.Equal(t, io.EOF, Hide(io.EOF))
}
