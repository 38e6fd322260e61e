package delivery

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/nflog/nflogpb"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/internal/testport"
)

// pairOptions are those of two servers that do not wait long for each other.
func pairOptions(t *testing.T, h *webhook) (pair [2]Options) {
	addresses := []string{testport.Address(t), testport.Address(t)}
	for i := range pair {
		pair[i] = testOptions(t, h.config())
		pair[i].Cluster = ClusterOptions{
			ListenAddress: addresses[i], Peers: []string{addresses[1-i]}, PeerTimeout: 10 * time.Millisecond,
			SettleTimeout: 10 * time.Second, GossipInterval: 20 * time.Millisecond,
		}
	}
	return pair
}

// A server that joins another one persists what that has sent and silenced, also if it is more than
// fits into one packet.
func TestStateOfAnotherServerIsPersisted(t *testing.T) {
	h := newWebhook(t)
	options := pairOptions(t, h)
	first, _ := start(t, options[0])
	long := strings.Repeat("x", 1000)
	first.Send(firing("alertname", "A", "machine", long))
	addSilence(t, first, "machine", "y"+long)
	h.wait(t, 1)
	start(t, options[1])
	for _, file := range []string{"nflog", "silences"} {
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			text, err := os.ReadFile(filepath.Join(options[1].Dir, "alertmanager", file))
			require.NoError(c, err)
			require.Contains(c, string(text), long)
		}, time.Minute, 20*time.Millisecond, file)
	}
}

// One server of a pair sends that an alert has ended before the other one sees it: that one does not
// send it as firing again. If it begins anew, it is sent.
func TestEndOfAnAlertIsSentOnce(t *testing.T) {
	h := newWebhook(t)
	pair := make([]*inside, 2)
	for i, o := range pairOptions(t, h) {
		d, _ := start(t, o)
		pair[i] = d.inside
	}
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		for _, in := range pair {
			require.NoError(c, in.peer.WaitReady(t.Context()))
			require.Len(c, in.peer.Peers(), 2)
			require.NotNil(c, in.pipeline.Load().dispatcher)
		}
	}, time.Minute, 20*time.Millisecond)
	if pair[0].peer.Position() > 0 {
		slices.Reverse(pair)
	}

	began := time.Now()
	an := func(starts, ends time.Time) *alert.Alert {
		return alert.New(model.Alert{Labels: model.LabelSet{"alertname": "A", "machine": "m"}, StartsAt: starts, EndsAt: ends}, starts, false)
	}
	send := func(in *inside, a *alert.Alert, want int) {
		t.Helper()
		ctx := notificationContext(t.Context(), "r", "A", time.Now())
		ctx = notify.WithGroupKey(ctx, "key")
		ctx = notify.WithRepeatInterval(ctx, time.Hour)
		_, _, err := in.pipeline.Load().stages.Exec(ctx, in.log, a)
		require.NoError(t, err)
		require.Len(t, h.all(), want)
	}
	heard := func(in *inside, firing, resolved int) {
		t.Helper()
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			entries, err := in.nflog.Query(nflog.QGroupKey("key"), nflog.QReceiver(&nflogpb.Receiver{GroupName: "r", Integration: "webhook"}))
			require.NoError(c, err)
			require.Len(c, entries[0].FiringAlerts, firing)
			require.Len(c, entries[0].ResolvedAlerts, resolved)
		}, time.Minute, 20*time.Millisecond)
	}
	send(pair[0], an(began, time.Time{}), 1)
	heard(pair[1], 1, 0)
	send(pair[1], an(began, time.Time{}), 1)
	send(pair[0], an(began, time.Now()), 2)
	heard(pair[1], 0, 1)
	send(pair[1], an(began, time.Time{}), 2)
	send(pair[1], an(began, time.Now()), 2)
	send(pair[1], an(time.Now(), time.Time{}), 3)
	heard(pair[0], 1, 0)
	// The server that waits for nobody knows what it has sent itself.
	send(pair[0], an(time.Now(), time.Now()), 4)
	heard(pair[1], 0, 1)
	send(pair[0], an(began, time.Time{}), 5)
	send(pair[0], an(began, time.Now()), 6)
	heard(pair[1], 0, 1)

	// It is believed for some time only: the other server may not see what this one sees.
	stage := &endedStage{log: pair[1].nflog, recv: &nflogpb.Receiver{GroupName: "r", Integration: "webhook"}, wait: func() time.Duration { return time.Second }}
	_, kept, err := stage.Exec(notify.WithGroupKey(t.Context(), "key"), nil, an(began, time.Time{}))
	require.NoError(t, err)
	require.Len(t, kept, 1)
}
