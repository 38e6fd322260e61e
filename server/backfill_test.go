package server

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Receivers of remote write would get old samples in one batch with new ones, so nothing is filled
// beside them unless that is asked for. A configuration file alone means what it means to Prometheus.
func TestWhenGapsAreFilled(t *testing.T) {
	for mode, want := range map[string][4]bool{ // managed or not, without remote write and with it
		"auto": {true, false, false, false},
		"on":   {true, true, true, true},
		"off":  {},
	} {
		o := Options{Backfill: BackfillOptions{Mode: mode, MaxAge: 24 * time.Hour}}
		got := [4]bool{o.fills(true, false), o.fills(true, true), o.fills(false, false), o.fills(false, true)}
		require.Equal(t, want, got, mode)
		require.Equal(t, want[1], o.outOfOrder(true, true) == 25*time.Hour, mode)
	}
	o := Options{Push: PushOptions{Enabled: true}}
	require.Equal(t, pushedLate, o.outOfOrder(false, true))
}
