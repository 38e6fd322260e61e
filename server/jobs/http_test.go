package jobs

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The pages are tested with this example: it has every field, and no other.
func TestExample(t *testing.T) {
	text, err := os.ReadFile("testdata/jobs.json")
	require.NoError(t, err)
	var got struct {
		Status string `json:"status"`
		Data   answer `json:"data"`
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(&got))
	again, err := json.Marshal(got)
	require.NoError(t, err)
	assert.JSONEq(t, string(text), string(again))
}
