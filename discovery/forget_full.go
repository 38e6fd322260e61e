//go:build !remove_all_sd

package discovery

import (
	"reflect"

	//lint:ignore SA1019 it is what another dependency brings along, to be emptied
	"github.com/aws/aws-sdk-go/aws/endpoints"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

func init() {
	forgets = append(forgets, forgetEndpoints, func() { *scheme.Scheme = *runtime.NewScheme() })
}

// forgetEndpoints empties AWS' list of where its services are, 2 MiB of maps, which
// come with the discovery of Outscale. The type is not exported, its fields are.
func forgetEndpoints() {
	partitions := reflect.ValueOf(endpoints.DefaultResolver())
	if partitions.Kind() != reflect.Slice {
		return
	}
	for i := range partitions.Len() {
		for _, field := range []string{"Services", "Regions"} {
			if m := partitions.Index(i).FieldByName(field); m.IsValid() && m.Kind() == reflect.Map {
				m.Clear()
			}
		}
	}
}
