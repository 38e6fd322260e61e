//go:build remove_all_sd

package discovery

import (
	"fmt"
	"regexp"
)

var unknownDiscovery = regexp.MustCompile(`field (\w+_sd_configs) not found`)

// Explain adds to an error of reading a configuration file why a service discovery
// that it names may be unknown here.
func Explain(err error) error {
	if err == nil {
		return nil
	}
	name := unknownDiscovery.FindStringSubmatch(err.Error())
	if name == nil {
		return err
	}
	return fmt.Errorf("%w\n%s may be valid: this binary was built without the service discoveries of cloud providers; use the package clanmon or `make build`", err, name[1])
}
