//go:build remove_all_sd && !enable_kubernetes_sd

package check

import (
	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/discovery"
)

// kubernetesTLS finds nothing in a build without Kubernetes discovery.
func kubernetesTLS(discovery.Config) (commonconfig.TLSConfig, bool) {
	return commonconfig.TLSConfig{}, false
}
