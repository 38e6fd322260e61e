package delivery

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	var options []goleak.Option
	// Alertmanager's peer leaves the gossip, but cannot stop listening.
	for _, f := range []string{
		"(*Memberlist).checkBroadcastQueueDepth", "(*Memberlist).packetHandler", "(*Memberlist).packetListen", "(*Memberlist).pushPullTrigger",
		"(*Memberlist).streamListen", "(*Memberlist).triggerFunc", "(*NetTransport).tcpListen", "(*NetTransport).udpListen",
	} {
		options = append(options, goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist."+f))
	}
	goleak.VerifyTestMain(m, options...)
}
