package delivery

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/nflog/nflogpb"
)

// Notification is one way by which somebody was told of an alert that fires.
type Notification struct {
	Receiver    string    `json:"receiver"`
	Integration string    `json:"integration"` // kind and number, such as ntfy[0]
	At          time.Time `json:"at"`          // of the last that had the alert in it and was taken
}

// Notifications tells of each alert that fires, by the fingerprint that /api/v2
// has, who was told and when; an alert that nobody was told of is missing. It is
// read from the notification log, so it survives a restart and includes what the
// other server of a pair sent. Safe for concurrent use.
func (d *Delivery) Notifications(ctx context.Context) (map[string][]Notification, error) {
	told := make(map[string][]Notification)
	if d.inside == nil {
		return told, nil
	}
	now := d.inside.pipeline.Load()
	if now.dispatcher == nil {
		return told, nil // nothing has been sent yet
	}
	groups, _, err := now.dispatcher.Groups(ctx, func(*dispatch.Route) bool { return true },
		func(a *alert.Alert, at time.Time) (alert.AlertStatus, bool) {
			return alert.AlertStatus{}, !a.ResolvedAt(at)
		})
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		for _, r := range now.book[g.Receiver] {
			entries, err := d.inside.nflog.Query(nflog.QGroupKey(g.GroupKey), nflog.QReceiver(&nflogpb.Receiver{
				GroupName: g.Receiver, Integration: r.inner.Name(), Idx: uint32(r.inner.Index()),
			}))
			if errors.Is(err, nflog.ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
			for _, a := range g.Alerts {
				if slices.Contains(entries[0].FiringAlerts, logHash(a)) {
					fp := a.Fingerprint().String()
					told[fp] = append(told[fp], Notification{g.Receiver, r.inner.String(), entries[0].Timestamp.AsTime()})
				}
			}
		}
	}
	return told, nil
}

// logHash is what the notification log, on the disk and in gossip, calls an
// alert. Upstream does not export how it is made.
func logHash(a *alert.Alert) uint64 {
	const sep = '\xff'
	var b []byte
	for _, name := range slices.Sorted(maps.Keys(a.Labels)) {
		b = append(append(b, name...), sep)
		b = append(append(b, a.Labels[name]...), sep)
	}
	return xxhash.Sum64(b)
}
