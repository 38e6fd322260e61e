// Package discovery says how targets are found.
//
// It registers every service discovery that the configuration file may name:
// all of upstream's, under upstream's own build tags (remove_all_sd,
// enable_dns_sd, …) for a slim build, and in time clanmon's own. It does not
// run any: upstream's discovery.Manager does, on behalf of server/ingest and
// server/delivery. Nothing here starts, so nothing stops.
package discovery

import (
	// All of Prometheus' service discoveries, chosen by upstream's build tags.
	_ "github.com/prometheus/prometheus/plugins"
)
