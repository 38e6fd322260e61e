package checks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/clanmon/clanmon/discovery/checks"
	"github.com/clanmon/clanmon/internal/probe"
)

// askMargin is how much longer an exporter may take to respond than the check that it runs. It is
// less than what a scrape has, which would otherwise end first.
const askMargin = 700 * time.Millisecond

// ask has a check run by the exporter of another machine. An error says why the machine did not
// run it, which says nothing of the service.
func (c *Checks) ask(ctx context.Context, machine string, check checks.Check) (probe.Result, error) {
	if c.opts.Exporter == nil {
		return probe.Result{}, errors.New("this server knows no other machines")
	}
	at, client, err := c.opts.Exporter(machine)
	if err != nil {
		return probe.Result{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, check.Timeout+askMargin)
	defer cancel()
	target, err := url.Parse(at)
	if err != nil {
		return probe.Result{}, err
	}
	target.Path, target.RawQuery = probe.Path, check.Query().Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return probe.Result{}, err
	}
	direct := *client // an exporter must not send this server elsewhere
	direct.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	started := time.Now()
	response, err := direct.Do(request)
	if err != nil {
		if inner, ok := errors.AsType[*url.Error](err); ok {
			err = inner.Err // without the query, which is long and known
		}
		return probe.Result{}, fmt.Errorf("the blackbox exporter of %s at %s does not respond: %w", machine, target.Host, err)
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return probe.Result{}, fmt.Errorf("the blackbox exporter of %s at %s is not clanmon's: run %q there", machine, target.Host, "clanmon exporter --exporter node,blackbox")
	default:
		said, _ := io.ReadAll(io.LimitReader(response.Body, 500))
		line, _, _ := strings.Cut(strings.TrimSpace(string(said)), "\n")
		return probe.Result{}, fmt.Errorf("the blackbox exporter of %s responds with HTTP status %d: %s", machine, response.StatusCode, line)
	}
	result, err := probe.Decode(response.Body)
	if err != nil {
		return probe.Result{}, fmt.Errorf("the blackbox exporter of %s: %w", machine, err)
	}
	result.At = started
	return result, nil
}
