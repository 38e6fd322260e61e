package probe

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// reasons turn what upstream logs into the words of an operator. The first that matches is
// taken; $1 is what the pattern found.
var reasons = []struct {
	pattern *regexp.Regexp
	words   string
}{
	{regexp.MustCompile(`((?:refused to probe|redirected to) [^"]+, a link-local or metadata address)`), "$1"},
	{regexp.MustCompile(`(redirected to \S+, which is not allowed)`), "$1"},
	{regexp.MustCompile(`Timeout reading from socket`), ""}, // what was tried before it is logged as an error too
	{regexp.MustCompile(`certificate has expired or is not yet valid: current time \S+ is after (\S+)`), "certificate expired on $1"},
	{regexp.MustCompile(`certificate has expired or is not yet valid: current time (\S+) is before (\S+?)[\s"]`), "certificate is not valid before $2, and the clock here says $1"},
	{regexp.MustCompile(`certificate is valid for (.+?), not ([^\\\s"]+)`), "certificate is for $1, not for $2"},
	{regexp.MustCompile(`certificate is not valid for any names, but wanted to match ([^\\\s"]+)`), "certificate names no host, not even $1"},
	{regexp.MustCompile(`certificate signed by unknown authority|certificate is not trusted`), "certificate is signed by an unknown authority"},
	{regexp.MustCompile(`x509: ([^"\\]+)`), "certificate: $1"},
	{regexp.MustCompile(`first record does not look like a TLS handshake|server gave HTTP response to HTTPS client`), "no TLS on this port"},
	{regexp.MustCompile(`no such host`), "name not found"},
	{regexp.MustCompile(`lookup (\S+) on (\S+): server misbehaving`), "the name server $2 fails to look up $1"},
	{regexp.MustCompile(`connection refused`), "connection refused"},
	{regexp.MustCompile(`connection reset by peer`), "connection reset"},
	{regexp.MustCompile(`no route to host|network is unreachable`), "no route to the host"},
	{regexp.MustCompile(`Error writing to socket.*operation not permitted`), "not sent: a firewall on the machine that checks drops it"},
	{regexp.MustCompile(`operation not permitted|permission denied`), "not permitted to send ICMP (net.ipv4.ping_group_range)"},
	{regexp.MustCompile(`Body did not match|Body matched`), "the response does not contain what was expected"},
	{regexp.MustCompile(`Not following redirect`), "more than 10 redirects"},
	{regexp.MustCompile(`(?i)Invalid HTTP response status code.*status_code=(\d+)|Invalid HTTP response status code.*status_code[^\d]+(\d+)`), "HTTP status $1$2"},
	{regexp.MustCompile(`request body too large`), "the response is larger than 10 MiB"},
	{regexp.MustCompile(`unsupported protocol scheme \\?"([^"\\]+)`), "redirected to $1:, which is not HTTP"},
	{regexp.MustCompile(`Regexp did not match|Error reading from connection.*EOF`), "the server did not respond as this protocol does"},
	{regexp.MustCompile(`Rcode not valid|rcode[^=]*=(\S+)`), "the name server refused the lookup"},
	{regexp.MustCompile(`i/o timeout|context deadline exceeded|Client\.Timeout`), ""}, // below
	{regexp.MustCompile(`EOF|server closed idle connection`), "connection closed (empty reply)"},
	{regexp.MustCompile(`err=(?:"((?:[^"\\\n]|\\.)*)"|(\S+))`), "$1$2"},
	{regexp.MustCompile(`msg="?([^"\n]+?)"?(?: \w+=|\n|$)`), "$1"},
}

// reason says in a few words why a probe failed, by the errors that it logged.
func reason(logged []string, ended error, timeout time.Duration) string {
	text := strings.Join(logged, "")
	for _, r := range reasons {
		m := r.pattern.FindStringSubmatchIndex(text)
		if m == nil {
			continue
		}
		if r.words == "" {
			return fmt.Sprintf("no response within %s", timeout)
		}
		return strings.ReplaceAll(string(r.pattern.ExpandString(nil, r.words, text, m)), `\"`, `"`)
	}
	if errors.Is(ended, context.DeadlineExceeded) {
		return fmt.Sprintf("no response within %s", timeout)
	}
	return "failed without a reason; the log of the probe may say more"
}
