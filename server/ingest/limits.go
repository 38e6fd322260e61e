package ingest

import (
	"strings"

	"github.com/alecthomas/units"
	"github.com/prometheus/prometheus/config"
)

// Limits protect the server from what it scrapes, where a job sets no limit of its
// own. A label of 16 MiB is enough to end a Prometheus, and a target may be any
// program on any machine.
type Limits struct {
	// MaxBody is the size of a response in bytes, uncompressed; 0 sets no limit at
	// all, not on labels either. Jobs that federate are not limited.
	MaxBody units.Base2Bytes
	// MaxSeries is how many samples a target that discovery found may have; 0 is no
	// limit.
	MaxSeries uint
	// Discovered reports whether discovery made a job. May be nil.
	Discovered func(job string) bool
}

// No honest exporter comes near these.
const (
	maxLabels      = 512
	maxLabelName   = 4 << 10
	maxLabelValue  = 256 << 10
	federationPath = "/federate"
)

// apply returns cfg with limits where there are none. cfg stays as it is: it is shown
// as it was written.
func (l Limits) apply(cfg *config.Config) (*config.Config, error) {
	jobs, err := cfg.GetScrapeConfigs()
	if err != nil {
		return nil, err
	}
	limited := *cfg
	limited.ScrapeConfigs, limited.ScrapeConfigFiles = make([]*config.ScrapeConfig, len(jobs)), nil
	for i, job := range jobs {
		c := *job
		if l.MaxBody > 0 && !strings.HasSuffix(c.MetricsPath, federationPath) {
			setDefault(&c.BodySizeLimit, l.MaxBody)
			setDefault(&c.LabelLimit, maxLabels)
			setDefault(&c.LabelNameLengthLimit, maxLabelName)
			setDefault(&c.LabelValueLengthLimit, maxLabelValue)
		}
		if l.Discovered != nil && l.Discovered(c.JobName) {
			setDefault(&c.SampleLimit, l.MaxSeries)
		}
		limited.ScrapeConfigs[i] = &c
	}
	return &limited, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
