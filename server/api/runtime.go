package api

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	apiv1 "github.com/prometheus/prometheus/web/api/v1"
)

// runtimeInfo is the answer of /api/v1/status/runtimeinfo. What other parts
// know of themselves is read from the metrics they export anyway.
func (a *API) runtimeInfo() (apiv1.RuntimeInfo, error) {
	info := apiv1.RuntimeInfo{
		StartTime:        a.born,
		CWD:              a.cwd,
		ServerTime:       time.Now().UTC(),
		GoroutineCount:   runtime.NumGoroutine(),
		GOMAXPROCS:       runtime.GOMAXPROCS(0),
		GOMEMLIMIT:       debug.SetMemoryLimit(-1), // -1 only reads
		GOGC:             os.Getenv("GOGC"),
		GODEBUG:          os.Getenv("GODEBUG"),
		StorageRetention: a.retention(),
	}
	var err error
	if info.Hostname, err = os.Hostname(); err != nil {
		return info, fmt.Errorf("host name: %w", err)
	}
	families, err := a.deps.Gatherer.Gather()
	if err != nil {
		return info, fmt.Errorf("gather own metrics: %w", err)
	}
	for _, f := range families {
		switch f.GetName() {
		case "prometheus_tsdb_wal_corruptions_total":
			info.CorruptionCount = int64(firstValue(f))
		case "prometheus_config_last_reload_successful":
			info.ReloadConfigSuccess = firstValue(f) != 0
		case "prometheus_config_last_reload_success_timestamp_seconds":
			info.LastConfigTime = time.Unix(int64(firstValue(f)), 0).UTC()
		}
	}
	return info, nil
}

// retention is written as upstream does: "15d or 10GiB or 80%".
func (a *API) retention() string {
	duration, size, percentage := a.deps.TSDBRetentionDuration, a.deps.TSDBMaxBytes, a.deps.TSDBMaxPercentage
	if t := a.config.Load().StorageConfig.TSDBConfig; t != nil && t.Retention != nil {
		duration, size, percentage = t.Retention.Time, t.Retention.Size, t.Retention.Percentage
	}
	var parts []string
	if duration != 0 {
		parts = append(parts, duration.String())
	}
	if size != 0 {
		parts = append(parts, size.String())
	}
	if percentage != 0 {
		parts = append(parts, strconv.FormatFloat(percentage, 'g', -1, 64)+"%")
	}
	return strings.Join(parts, " or ")
}

func firstValue(f *dto.MetricFamily) float64 {
	m := f.GetMetric()[0]
	switch {
	case m.Gauge != nil:
		return m.Gauge.GetValue()
	case m.Counter != nil:
		return m.Counter.GetValue()
	}
	return m.GetUntyped().GetValue()
}
