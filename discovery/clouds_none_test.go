//go:build remove_all_sd

package discovery

import (
	"errors"
	"testing"

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/config"
	"github.com/stretchr/testify/require"
)

func TestADiscoveryThatIsNotBuiltIn(t *testing.T) {
	_, err := config.Load("scrape_configs: [{job_name: a, ec2_sd_configs: [{region: x}]}]", promslog.NewNopLogger())
	require.ErrorContains(t, Explain(err), "ec2_sd_configs may be valid: this binary was built without")
	other := errors.New("field scrape_interva not found in type config.plain")
	require.Equal(t, other, Explain(other))
	require.NoError(t, Explain(nil))
}
