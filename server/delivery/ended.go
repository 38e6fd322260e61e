package delivery

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/nflog/nflogpb"
	"github.com/prometheus/alertmanager/notify"
)

// endedFor is how long the end that another server has sent of an alert holds: longer than the servers'
// scrapes and evaluations are apart. If the alert still fires here after that, it is sent.
const endedFor = 2 * time.Minute

// An endedStage leaves out alerts that fire here and whose end another server of the pair has
// sent since they began. The servers see an end at different times, and the second one waits for the first with what it
// saw before. Without this it would send the alert once more as firing, and then its end.
type endedStage struct {
	log  notify.NotificationLog
	recv *nflogpb.Receiver
	wait func() time.Duration // of this server for others; those who wait for nobody send what they see
	hold time.Duration
}

// leaveOutEnded adds the stage to the pipeline of each receiver, after the wait for other servers.
func leaveOutEnded(all notify.RoutingStage, used map[string][]notify.Integration, log notify.NotificationLog, waited func() time.Duration) {
	for name, stage := range all {
		receiver, _ := stage.(notify.MultiStage)
		if len(receiver) == 0 {
			continue
		}
		integrations, _ := receiver[len(receiver)-1].(notify.FanoutStage)
		for i, stage := range integrations {
			stages, _ := stage.(notify.MultiStage)
			wait := slices.IndexFunc(stages, func(s notify.Stage) bool { _, ok := s.(*notify.ClusterWaitStage); return ok })
			recv := &nflogpb.Receiver{GroupName: name, Integration: used[name][i].Name(), Idx: uint32(used[name][i].Index())}
			integrations[i] = slices.Insert(stages, wait+1, notify.Stage(&endedStage{log, recv, waited, endedFor}))
		}
	}
}

// Exec implements notify.Stage.
func (s *endedStage) Exec(ctx context.Context, _ *slog.Logger, alerts ...*alert.Alert) (context.Context, []*alert.Alert, error) {
	if s.wait() == 0 {
		return ctx, alerts, nil
	}
	key, _ := notify.GroupKey(ctx)
	entries, err := s.log.Query(nflog.QGroupKey(key), nflog.QReceiver(s.recv))
	if err != nil || len(entries) != 1 {
		return ctx, alerts, nil // the next stage says what is wrong
	}
	sent := entries[0].Timestamp.AsTime()
	if time.Since(sent) >= s.hold {
		return ctx, alerts, nil
	}
	return ctx, slices.DeleteFunc(slices.Clone(alerts), func(a *alert.Alert) bool {
		return !a.Resolved() && a.StartsAt.Before(sent) && slices.Contains(entries[0].ResolvedAlerts, hashOf(a))
	}), nil
}

// hashOf is how the notification log calls an alert.
func hashOf(a *alert.Alert) uint64 {
	var b []byte
	for _, name := range slices.Sorted(maps.Keys(a.Labels)) {
		b = append(b, name...)
		b = append(b, '\xff')
		b = append(b, a.Labels[name]...)
		b = append(b, '\xff')
	}
	return xxhash.Sum64(b)
}
