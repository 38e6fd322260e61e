//go:build !remove_all_sd || enable_kubernetes_sd

package check

import (
	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/kubernetes"
)

// kubernetesTLS returns the TLS settings of a Kubernetes discovery; promtool
// looks at this kind's alone.
func kubernetesTLS(c discovery.Config) (commonconfig.TLSConfig, bool) {
	k, ok := c.(*kubernetes.SDConfig)
	if !ok {
		return commonconfig.TLSConfig{}, false
	}
	return k.HTTPClientConfig.TLSConfig, true
}
