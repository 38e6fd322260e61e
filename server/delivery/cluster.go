package delivery

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/alertmanager/cluster"
)

// ClusterOptions make two servers a pair: Alertmanager's own gossip, by which
// they tell each other of silences and notifications. Off without an address.
type ClusterOptions struct {
	ListenAddress    string
	AdvertiseAddress string
	Peers            []string
	// PeerTimeout is how long a server waits for each that comes before it to
	// send a notification.
	PeerTimeout time.Duration
	// SettleTimeout bounds the wait at the start for the others' state.
	SettleTimeout time.Duration
	TLSConfigFile string
	Label         string // servers with another label are not joined

	// What is 0 or "" below means Alertmanager's default.
	ResolveTimeout, GossipInterval, PushPullInterval, TCPTimeout time.Duration
	ProbeTimeout, ProbeInterval                                  time.Duration
	ReconnectInterval, ReconnectTimeout                          time.Duration
	PeerName                                                     string // a random one
	AllowPublicAddress                                           bool   // find out a public address to advertise
}

func (c ClusterOptions) withDefaults() ClusterOptions {
	for _, d := range []struct {
		of    *time.Duration
		usual time.Duration
	}{
		{&c.ResolveTimeout, cluster.DefaultResolvePeersTimeout}, {&c.GossipInterval, cluster.DefaultGossipInterval},
		{&c.PushPullInterval, cluster.DefaultPushPullInterval}, {&c.TCPTimeout, cluster.DefaultTCPTimeout},
		{&c.ProbeTimeout, cluster.DefaultProbeTimeout}, {&c.ProbeInterval, cluster.DefaultProbeInterval},
		{&c.ReconnectInterval, cluster.DefaultReconnectInterval}, {&c.ReconnectTimeout, cluster.DefaultReconnectTimeout},
	} {
		if *d.of == 0 {
			*d.of = d.usual
		}
	}
	return c
}

func (in *inside) joinCluster() error {
	c := in.opts.Cluster
	if c.ListenAddress == "" {
		return nil
	}
	tls, err := cluster.GetTLSTransportConfig(c.TLSConfigFile)
	if err != nil {
		return fmt.Errorf("--cluster.tls-config %q: %w", c.TLSConfigFile, err)
	}
	in.peer, err = cluster.Create(in.log.With("part", "cluster"), in.opts.Registerer, c.ListenAddress, c.AdvertiseAddress, c.Peers, true,
		c.PushPullInterval, c.GossipInterval, c.TCPTimeout, c.ResolveTimeout, c.ProbeTimeout, c.ProbeInterval,
		tls, c.AllowPublicAddress, c.Label, c.PeerName)
	if err != nil {
		return fmt.Errorf("--cluster.listen-address %q: %w", c.ListenAddress, err)
	}
	in.metrics.cluster.Set(1)
	return nil
}

// spreadState sends changes of silences and of the notification log to the cluster, and
// has them saved.
func (in *inside) spreadState() {
	spreadSilence, spreadLog := func([]byte) {}, func([]byte) {}
	if in.peer != nil {
		spreadLog = in.peer.AddState("nfl", heard{in.nflog, in.saveLog}, in.opts.Registerer).Broadcast
		spreadSilence = in.peer.AddState("sil", heard{in.silences, in.saveSilences}, in.opts.Registerer).Broadcast
		in.pair = &pair{
			name: in.peer.Name(), members: in.peer.Peers, configured: in.opts.Cluster.Peers, others: make(map[string]*other),
			about: in.opts.About, log: in.log.With("part", "cluster"),
		}
		in.pair.broadcast = in.peer.AddState(pairKey, in.pair, in.opts.Registerer).Broadcast
	}
	in.nflog.SetBroadcast(func(b []byte) { spreadLog(b); in.saveLog.mark() })
	in.silences.SetBroadcast(func(b []byte) { spreadSilence(b); in.saveSilences.mark() })
}

// heard is a state that is also saved when another server has changed it. Upstream does not
// broadcast what comes with a whole state, so nothing else would have it saved.
type heard struct {
	cluster.State
	saver *saver
}

// Merge implements cluster.State.
func (h heard) Merge(b []byte) error {
	defer h.saver.mark()
	return h.State.Merge(b)
}

// settleCluster joins the others. It does not wait for them: the pipeline itself
// waits, before its first notification, until the cluster has settled.
func (in *inside) settleCluster(ctx context.Context) {
	if in.peer == nil {
		return
	}
	if err := in.peer.Join(in.opts.Cluster.ReconnectInterval, in.opts.Cluster.ReconnectTimeout); err != nil {
		in.log.Warn("Could not join the cluster; retrying", "err", err)
	}
	settle, cancel := context.WithTimeout(ctx, in.opts.Cluster.SettleTimeout)
	go func() {
		defer cancel()
		in.peer.Settle(settle, in.opts.Cluster.GossipInterval*10)
	}()
}

func (in *inside) leaveCluster() {
	if in.peer == nil {
		return
	}
	if err := in.peer.Leave(10 * time.Second); err != nil {
		in.log.Warn("Could not leave the cluster", "err", err)
	}
}
