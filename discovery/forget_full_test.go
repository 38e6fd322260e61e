//go:build !remove_all_sd

package discovery

import (
	"testing"

	//lint:ignore SA1019 it is what another dependency brings along, to be emptied
	"github.com/aws/aws-sdk-go/aws/endpoints"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/kubernetes/scheme"
)

// The tables are what upstream keeps them in, so that emptying them is worth it.
func TestForget(t *testing.T) {
	require.Greater(t, len(endpoints.AwsPartition().Services()), 100)
	require.Greater(t, len(scheme.Scheme.AllKnownTypes()), 100)
	Forget()
	for _, p := range endpoints.DefaultPartitions() {
		require.Empty(t, p.Regions())
		require.LessOrEqual(t, len(p.Services()), 1, "upstream adds one that is everywhere")
	}
	require.Empty(t, scheme.Scheme.AllKnownTypes())
}
