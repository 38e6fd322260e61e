package caller

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCaller(t *testing.T) {
	nobody := From(t.Context())
	require.Equal(t, Caller{Via: ViaNothing}, nobody)
	require.False(t, nobody.Identified())
	require.True(t, nobody.May(Operator), "nothing is configured")

	alice := Caller{Name: "alice@example.com", Via: ViaTailscale, Configured: true, Role: Viewer}
	require.Equal(t, alice, From(With(t.Context(), alice)))
	require.True(t, alice.May(Viewer))
	require.False(t, alice.May(Operator))
	require.Equal(t, "anonymous viewer operator", Anonymous.String()+" "+Viewer.String()+" "+Operator.String())
}
