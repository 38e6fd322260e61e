// Package discovery says how targets are found.
//
// It registers every service discovery that the configuration file may name:
// all of upstream's, under upstream's own build tags (remove_all_sd,
// enable_dns_sd, …) for a slim build, and clanmon's own. It does not run any:
// upstream's discovery.Manager does, on behalf of server/ingest and
// server/delivery.
//
// And it turns what the --discovery flags and the clan's settings say into scrape
// configurations: each method, a folder of its own, gives parts; all parts of a
// job become one configuration whose targets have the labels of
// discovery/contract. Nothing here starts, so nothing stops.
package discovery

import (
	// All of Prometheus' service discoveries, chosen by upstream's build tags.
	_ "github.com/prometheus/prometheus/plugins"
)
