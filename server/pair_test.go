package server_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/internal/testport"
	"github.com/clanmon/clanmon/server"
	"github.com/clanmon/clanmon/server/servertest"
)

// Two servers of a pair say, both of them, in what they differ, and that they do no
// longer.
func TestAPairSaysWhatDiffers(t *testing.T) {
	addresses := []string{testport.Address(t), testport.Address(t)}
	rules := make([]string, 2)
	pair := make([]*servertest.Server, 2)
	config := func(i int, label string) string {
		return fmt.Sprintf("global: {external_labels: {site: %s}}\nrule_files: [%q]\n", label, rules[i])
	}
	write := func(file, text string) { require.NoError(t, os.WriteFile(file, []byte(text), 0o600)) }
	const one = "groups: [{name: g, rules: [{alert: A, expr: vector(1)}]}]\n"
	for i := range pair {
		rules[i] = filepath.Join(t.TempDir(), "rules.yml")
		write(rules[i], one)
		pair[i] = servertest.Start(t, config(i, "home"), func(o *server.Options) {
			o.Delivery.Cluster.ListenAddress, o.Delivery.Cluster.Peers = addresses[i], []string{addresses[1-i]}
			o.Delivery.Replica = fmt.Sprintf("r%d", i)
		})
	}
	notices := func(i int) (all []string) {
		var answer struct {
			Data struct {
				Notices []struct{ Kind, Text, Detail string }
			}
		}
		_, body := pair[i].Get("/api/clanmon/v1/fleet")
		require.NoError(t, json.Unmarshal([]byte(body), &answer))
		for _, n := range answer.Data.Notices {
			if n.Kind == "peer" {
				all = append(all, n.Text+". "+n.Detail)
			}
		}
		return all
	}
	both := func(want ...string) {
		t.Helper()
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			for i := range pair {
				now := notices(i)
				if !assert.Len(c, now, len(want)) {
					return
				}
				for n, text := range want {
					assert.Contains(c, now[n], text)
					assert.Contains(c, now[n], addresses[1-i])
				}
			}
		}, waitFor, tick)
	}
	change := func(i int, label, text string) {
		write(rules[i], text)
		write(pair[i].Options.ConfigFile, config(i, label))
		pair[i].Reload <- struct{}{}
	}
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		_, body := pair[0].Get("/api/v2/status")
		assert.Equal(c, 2, strings.Count(body, `"address"`))
	}, waitFor, tick)

	change(1, "garden", one)
	both("adds different labels to alerts. Here: {site=")
	require.NotContains(t, strings.Join(notices(0), ""), "r0", "the replica is what may differ")
	change(1, "garden", strings.Replace(one, "A,", "B,", 1))
	both("adds different labels", "evaluates different rules")
	change(1, "home", strings.Replace(one, "A,", "B,", 1))
	both("evaluates different rules")
	require.Contains(t, pair[0].Log.String(), "evaluates different rules")
	change(1, "home", one)
	both()
	for i := range pair {
		_, body := pair[i].Get("/api/v1/status/config")
		require.Contains(t, body, fmt.Sprintf("replica: r%d", i))
	}
}

// Each server of a pair says how it is called, where its pages are, and what the other one says
// of the machines; and that the other is gone.
func TestAPairKnowsEachOther(t *testing.T) {
	t.Parallel()
	addresses := []string{testport.Address(t), testport.Address(t)}
	pair := make([]*servertest.Server, 2)
	for i := range pair {
		pair[i] = servertest.Start(t, "global: {scrape_interval: 1s}\nscrape_configs: [{job_name: node, static_configs: [{targets: ['127.0.0.1:1'], labels: {machine: m}}]}]\n", func(o *server.Options) {
			o.Delivery.Cluster.ListenAddress, o.Delivery.Cluster.Peers = addresses[i], []string{addresses[1-i]}
			o.Delivery.Replica, o.Rules.Builtin = fmt.Sprintf("r%d", i), "on"
			o.Web.ExternalURL, _ = url.Parse(fmt.Sprintf("https://r%d.example.org/mon/", i))
		})
	}
	type peer struct {
		Name, URL, Address, Heard string
		Reachable, SameMachines   bool
		Machines                  int
		ClockOffset               *float64
		States                    map[string]string
		Differences               []struct{ Text, Detail string }
	}
	ask := func(i int) (self peer, peers []peer) {
		var answer struct {
			Data struct {
				Enabled bool
				Self    peer
				Peers   []peer
			}
		}
		_, body := pair[i].Get("/api/clanmon/v1/pair")
		require.NoError(t, json.Unmarshal([]byte(body), &answer))
		require.True(t, answer.Data.Enabled)
		return answer.Data.Self, answer.Data.Peers
	}
	for i := range pair {
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			self, peers := ask(i)
			assert.Equal(c, fmt.Sprintf("r%d", i), self.Name)
			if !assert.Len(c, peers, 1) {
				return
			}
			p := peers[0]
			assert.Equal(c, fmt.Sprintf("r%d", 1-i), p.Name)
			assert.Equal(c, fmt.Sprintf("https://r%d.example.org/mon", 1-i), p.URL)
			assert.Equal(c, addresses[1-i], p.Address)
			assert.True(c, p.Reachable)
			assert.True(c, p.SameMachines)
			assert.Equal(c, 1, p.Machines)
			assert.Equal(c, self.States, p.States)
			assert.Contains(c, p.States, "m", "it is not ok: nothing responds there")
			assert.NotNil(c, p.ClockOffset)
			assert.Empty(c, p.Differences)
		}, waitFor, tick)
	}
	require.NoError(t, pair[1].Stop())
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		_, peers := ask(0)
		if !assert.Len(c, peers, 1) {
			return
		}
		assert.False(c, peers[0].Reachable)
		assert.Equal(c, "r1", peers[0].Name)
		_, body := pair[0].Get("/api/clanmon/v1/fleet")
		assert.Contains(c, body, "Peer r1 ("+addresses[1]+") is unreachable")
	}, waitFor, tick)
}
