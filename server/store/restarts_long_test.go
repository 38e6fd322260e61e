//go:build long

package store

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestManyKillsAndStops(t *testing.T) {
	for range 200 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			killAndStop(t, seed, 100)
		})
	}
}
