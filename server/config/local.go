package config

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/prometheus/prometheus/config"
	"go.yaml.in/yaml/v2"
)

// LocalJob is a job that this process serves itself, without a port.
type LocalJob struct {
	Name string
	// Port is the one its exporter usually has; it only appears in the label
	// "instance", so that series keep their identity when the machine is one
	// day scraped over the network.
	Port int
}

// localSuffix marks addresses that are dialled inside the process. The top
// level domain is reserved (RFC 2606) never to exist.
const localSuffix = ".in-process.invalid"

// LocalAddress is the address under which the scrape manager asks for a job of
// this process.
func LocalAddress(job string) string { return job + localSuffix + ":80" }

// LocalJobName is the reverse of LocalAddress.
func LocalJobName(address string) (job string, ok bool) {
	host, _, _ := strings.Cut(address, ":")
	return strings.CutSuffix(host, localSuffix)
}

// The shape of a scrape configuration as it is written in a file: going through
// upstream's parser gives the same defaults and checks that a user's own get,
// and shows in /api/v1/status/config as what it is.
type (
	fileShape struct {
		Global  map[string]string `yaml:"global"`
		Scrapes []scrapeShape     `yaml:"scrape_configs"`
	}
	scrapeShape struct {
		JobName string        `yaml:"job_name"`
		Static  []staticShape `yaml:"static_configs"`
	}
	staticShape struct {
		Targets []string          `yaml:"targets"`
		Labels  map[string]string `yaml:"labels"`
	}
)

// unconfigured is the configuration of a server that was given none: it scrapes
// what the process itself serves, labelled by the contract that every target
// of clanmon keeps.
func (l *Loader) unconfigured(logger *slog.Logger) (*config.Config, error) {
	machine := machineName()
	file := fileShape{Global: map[string]string{"scrape_interval": "15s", "evaluation_interval": "15s"}}
	for _, job := range l.opts.Local {
		file.Scrapes = append(file.Scrapes, scrapeShape{
			JobName: job.Name,
			Static: []staticShape{{
				Targets: []string{LocalAddress(job.Name)},
				Labels: map[string]string{
					"machine":      machine,
					"instance":     fmt.Sprintf("%s:%d", machine, job.Port),
					"availability": "always",
				},
			}},
		})
	}
	text, err := yaml.Marshal(file)
	if err != nil {
		return nil, err
	}
	cfg, err := config.Load(string(text), logger)
	if err != nil {
		return nil, fmt.Errorf("built-in configuration: %w", err)
	}
	return cfg, nil
}

// shortName is the first label of a host name.
func shortName(host string) string {
	short, _, _ := strings.Cut(host, ".")
	return short
}
