package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/value"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

// What a receiver missed while it was away arrives after the server's restart, however
// that came about: each sample, and once. The receiver is a real Prometheus, which refuses
// samples that are older than what it has.
func TestReceiverMissesNothing(t *testing.T) {
	t.Parallel()
	for _, agent := range []bool{false, true} {
		for _, end := range []string{"killed", "stopped"} {
			t.Run(fmt.Sprintf("agent=%v %s", agent, end), func(t *testing.T) {
				t.Parallel()
				missesNothing(t, agent, end == "killed")
			})
		}
	}
}

func missesNothing(t *testing.T, agent, kill bool) {
	target := harness.NewChangingTarget(t, func(scrape int) string {
		var b strings.Builder
		for i := range 50 {
			fmt.Fprintf(&b, "answer{n=\"%d\"} %d\n", i, scrape)
		}
		return b.String()
	})
	listen := harness.Address(t)
	receiverOptions := harness.ServerOptions{Path: harness.Upstream(t), Config: "global: {}\n", Args: receiving, Listen: listen}
	receiver := harness.StartServer(t, receiverOptions)
	receiverOptions.Data = receiver.Data

	senderOptions := harness.ServerOptions{Agent: agent, Config: fmt.Sprintf(`
global: {scrape_interval: 1s, scrape_timeout: 1s, external_labels: {from: sender}}
remote_write:
- {url: "http://%s/api/v1/write", name: away, queue_config: {batch_send_deadline: 1s, max_backoff: 1s}}
scrape_configs: [{job_name: j, static_configs: [{targets: [%q]}]}]
`, listen, target.Host())}
	sender := harness.StartServer(t, senderOptions)
	senderOptions.Data = sender.Data
	receiver.WaitValue(`count(count_over_time(answer[1h]) >= 5)`, 50)

	require.Zero(t, receiver.Terminate())
	scraped := func(s *harness.Server, n int) {
		harness.Eventually(t, harness.Patience, func() error {
			v, err := s.Metric(`prometheus_wal_watcher_records_read_total{consumer="away",type="samples"}`)
			if err != nil {
				return err
			}
			return atLeast(int(v), n)
		})
	}
	was, err := sender.Metric(`prometheus_wal_watcher_records_read_total{consumer="away",type="samples"}`)
	require.NoError(t, err)
	scraped(sender, int(was)+8)
	if kill {
		sender.Kill()
	} else {
		require.Zero(t, sender.Terminate())
	}

	sender = harness.StartServer(t, senderOptions)
	receiver = harness.StartServer(t, receiverOptions)
	harness.Eventually(t, 2*harness.Patience, func() error {
		a := sender.Get("/api/clanmon/v1/remote-write")
		if !strings.Contains(a.Body, `"state":"ok"`) {
			return fmt.Errorf("%s", a.Body)
		}
		return nil
	})
	receiver.WaitValue(`count(count_over_time(answer[1h]) >= 15)`, 50)
	if agent {
		// Nobody else can say what it had, but scrapes are numbered. One may have been under
		// way when it ended, and some may have failed on a busy machine.
		allowed := 1
		for _, p := range samples(t, receiver, `up[1h]`)[""] {
			if p.Value == 0 {
				allowed++
			}
		}
		for n, got := range samples(t, receiver, `answer[1h]`) {
			missing := int(got[len(got)-1].Value-got[0].Value) - (len(got) - 1)
			require.LessOrEqual(t, missing, allowed, "%s: %v", n, got)
		}
		return
	}
	require.Zero(t, sender.Terminate())
	sender = harness.StartServer(t, harness.ServerOptions{Path: harness.Upstream(t), Config: "global: {}\n", Data: sender.Data})
	sent, got := samples(t, sender, `answer[1h]`), samples(t, receiver, `answer[1h]`)
	require.Len(t, sent, 50)
	require.Equal(t, sent, got)
}

// samples are those of a range selector, by the label n, without stale markers.
func samples(t *testing.T, s *harness.Server, selector string) map[string][]model.SamplePair {
	a := s.Get("/api/v1/query?" + url.Values{"query": {selector}}.Encode())
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	var answer struct {
		Data struct{ Result model.Matrix }
	}
	require.NoError(t, json.Unmarshal([]byte(a.Body), &answer))
	all := make(map[string][]model.SamplePair)
	for _, series := range answer.Data.Result {
		for _, p := range series.Values {
			if !value.IsStaleNaN(float64(p.Value)) {
				all[string(series.Metric["n"])] = append(all[string(series.Metric["n"])], p)
			}
		}
	}
	return all
}
