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
		cluster.DefaultPushPullInterval, cluster.DefaultGossipInterval, cluster.DefaultTCPTimeout, cluster.DefaultResolvePeersTimeout,
		cluster.DefaultProbeTimeout, cluster.DefaultProbeInterval, tls, false, c.Label, "")
	if err != nil {
		return fmt.Errorf("--cluster.listen-address %q: %w", c.ListenAddress, err)
	}
	in.metrics.cluster.Set(1)
	return nil
}

// settleCluster joins the others. It does not wait for them: the pipeline itself
// waits, before its first notification, until the cluster has settled.
func (in *inside) settleCluster(ctx context.Context) {
	if in.peer == nil {
		return
	}
	if err := in.peer.Join(cluster.DefaultReconnectInterval, cluster.DefaultReconnectTimeout); err != nil {
		in.log.Warn("Could not join the cluster; trying again", "err", err)
	}
	settle, cancel := context.WithTimeout(ctx, in.opts.Cluster.SettleTimeout)
	go func() {
		defer cancel()
		in.peer.Settle(settle, cluster.DefaultGossipInterval*10)
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
