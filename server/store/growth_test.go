package store

import (
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/stretchr/testify/require"
)

func TestExpectedSize(t *testing.T) {
	const day, gib = 24 * time.Hour, 1 << 30
	for name, c := range map[string]struct {
		span, retention time.Duration
		size, want      int64
	}{
		"first hours":          {span: 10 * time.Hour, retention: 15 * day},
		"grows":                {span: 3 * day, retention: 15 * day, want: 5 * gib},
		"full":                 {span: 15 * day, retention: 15 * day, want: gib},
		"shorter than before":  {span: 30 * day, retention: 15 * day, want: gib},
		"limited by size":      {span: 3 * day, retention: 15 * day, size: 2 * gib, want: 2 * gib},
		"size is further away": {span: 3 * day, retention: 15 * day, size: 9 * gib, want: 5 * gib},
		"size only":            {span: 3 * day, size: 9 * gib, want: 9 * gib},
		"no limit":             {span: 3 * day},
	} {
		require.Equal(t, c.want, expected(gib, c.span, c.retention, c.size), name)
	}
}

// What retention will need is compared with the disk, and a size that fits is suggested.
func TestRoomForRetention(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	makeBlock(t, dir, "x", 10, now.Add(-48*time.Hour), 30)
	makeBlock(t, dir, "x", 10, now.Add(-4*time.Hour), 30)
	s, stop := running(t, dir)
	defer stop()
	var free int64 = 1 << 30
	s.free = func() (int64, bool) { return free, true }
	retain := func(r config.TSDBRetentionConfig) {
		require.NoError(t, s.ApplyConfig(&config.Config{StorageConfig: config.StorageConfig{TSDBConfig: &config.TSDBConfig{Retention: &r}}}))
	}
	retain(config.TSDBRetentionConfig{Time: model.Duration(440 * time.Hour)})
	r := s.Room()
	require.Positive(t, r.Blocks)
	require.InDelta(t, 9.9*float64(r.Blocks), r.Expected, float64(r.Blocks)/5)
	require.Zero(t, r.Size)
	free = 4 * r.Blocks
	require.Equal(t, 5*r.Blocks/5*4, s.Room().Size)
	retain(config.TSDBRetentionConfig{Percentage: 80})
	require.Zero(t, s.Room().Expected)
}
