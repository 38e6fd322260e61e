// Package discovery defines how targets are found.
//
// It registers every service discovery that the configuration file may name:
// all of upstream's, under upstream's own build tags (remove_all_sd,
// enable_dns_sd, …) for a slim build, and clanmon's own. It does not run any:
// upstream's discovery.Manager does, on behalf of server/ingest and
// server/delivery.
//
// It also turns the --discovery flags and the settings file into scrape
// configurations. Each method is a package of its own that returns parts; all parts
// of a job become one configuration, whose targets have the labels of
// discovery/contract. The package starts nothing.
package discovery

import (
	// All of Prometheus' service discoveries, chosen by upstream's build tags.
	_ "github.com/prometheus/prometheus/plugins"
)
