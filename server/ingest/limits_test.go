package ingest

import (
	"testing"

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/config"
	"github.com/stretchr/testify/require"
)

func TestLimits(t *testing.T) {
	cfg, err := config.Load(`scrape_configs:
- {job_name: plain}
- {job_name: own, body_size_limit: 100MiB, sample_limit: 7, label_limit: 9}
- {job_name: other, metrics_path: /prometheus/federate}
- {job_name: found}
`, promslog.NewNopLogger())
	require.NoError(t, err)
	before := cfg.String()
	limited, err := Limits{MaxBody: 15 << 20, MaxSeries: 50000, Discovered: func(job string) bool { return job == "found" }}.apply(cfg)
	require.NoError(t, err)
	require.Equal(t, before, cfg.String(), "what was written is shown as it was written")

	jobs, err := limited.GetScrapeConfigs()
	require.NoError(t, err)
	require.Len(t, jobs, 4)
	plain, own, federation, found := jobs[0], jobs[1], jobs[2], jobs[3]
	require.EqualValues(t, 15<<20, plain.BodySizeLimit)
	require.EqualValues(t, maxLabels, plain.LabelLimit)
	require.Zero(t, plain.SampleLimit)
	require.EqualValues(t, 100<<20, own.BodySizeLimit)
	require.EqualValues(t, 7, own.SampleLimit)
	require.EqualValues(t, 9, own.LabelLimit)
	require.Zero(t, federation.BodySizeLimit)
	require.Zero(t, federation.LabelLimit)
	require.EqualValues(t, 50000, found.SampleLimit)

	unlimited, err := Limits{}.apply(cfg)
	require.NoError(t, err)
	require.Equal(t, before, unlimited.String())
}
