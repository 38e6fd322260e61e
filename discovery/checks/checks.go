// Package checks reads what is to be checked from outside: sites, certificates, mail servers,
// names, and whether a host responds to ping. It makes scrape configurations of them and
// probes nothing itself.
//
// A check is a URL whose scheme says how:
//
//	https://cloud.example.org/path    http:// too: a 2xx response, and the certificate
//	tcp://hub:22                      a connection
//	tls://hub:636                     a TLS handshake, and the certificate
//	smtp+starttls://mail:25           also imap+starttls:// and pop3+starttls://
//	ping://10.0.0.9                   an ICMP echo
//	dns://10.0.0.1/example.org        a lookup; ?type=AAAA for another type than A
package checks

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/clanmon/clanmon/discovery/contract"
)

const (
	// Job is the label job of checks. It is also the job of the exporters that check from other
	// machines.
	Job = "blackbox"
	// Pool is the name of the scrape job that checks make.
	Pool = "clanmon-checks"
)

// Labels of a check's series beside those of every target.
const (
	// NameLabel is the name of the check.
	NameLabel = "check"
	// FromLabel is the machine that checks.
	FromLabel = "from"
)

// Limits and defaults.
const (
	maxChecks       = 1000
	maxPlaces       = 10
	minEvery        = 5 * time.Second
	maxEvery        = 2 * time.Minute
	defaultEvery    = time.Minute
	defaultTimeout  = 10 * time.Second
	defaultCertDays = 14
	// scrapeMargin is how much longer a scrape may take than its probe: a probe that fails
	// has to end before the scrape does, or there is no sample of its failure.
	scrapeMargin = time.Second
)

// Schemes and the ports that they have where a URL names none, 0 if it has to.
var schemes = map[string]int{
	"http": 80, "https": 443, "tcp": 0, "tls": 443, "ping": -1, "dns": 53,
	"smtp+starttls": 25, "imap+starttls": 143, "pop3+starttls": 110,
}

// Check is one check, complete.
type Check struct {
	Name    string
	URL     *url.URL // with a known scheme and a host
	Every   time.Duration
	Timeout time.Duration
	// Status are the HTTP status codes that are right; empty is any 2xx.
	Status []int
	// Body has to match the response of an HTTP check; nil is anything.
	Body *regexp.Regexp
	// CertificateDays is how many days before a certificate expires somebody is to be told.
	CertificateDays int
	// From are the machines that check; empty is this server's.
	From []string
	// Machine is whose service it is, "" if that is not said.
	Machine  string
	Severity string // of the alert that it fails: warning or critical
}

// Instance is the URL for people and for the label instance. It has no password: Parse refuses
// one.
func (c Check) Instance() string { return c.URL.String() }

// HostPort is the address of the service, without a port for ping.
func (c Check) HostPort() string {
	port := c.URL.Port()
	if port == "" {
		switch p := schemes[c.URL.Scheme]; {
		case p > 0:
			port = strconv.Itoa(p)
		default:
			return c.URL.Hostname()
		}
	}
	return net.JoinHostPort(c.URL.Hostname(), port)
}

// Section is a check in the settings file.
type Section struct {
	URL     string          `yaml:"url"`
	Every   *model.Duration `yaml:"every"`
	Timeout *model.Duration `yaml:"timeout"`
	Expect  struct {
		Status          []int  `yaml:"status"`
		Body            string `yaml:"body"`
		CertificateDays *int   `yaml:"certificateDays"`
	} `yaml:"expect"`
	From     []string `yaml:"from"`
	Machine  string   `yaml:"machine"`
	Severity string   `yaml:"severity"`
}

// Parse reads a flag: a URL, or NAME=URL.
func Parse(text string) (Check, error) {
	name, address, named := strings.Cut(text, "=")
	if !named || strings.ContainsAny(name, ":/?") {
		name, address = "", text
	}
	return Section{URL: address}.Complete(name)
}

// Complete checks a section and fills in the defaults. An empty name is made of the URL. The
// error names the field, the value and what would be right.
func (s Section) Complete(name string) (Check, error) {
	c := Check{Name: name, Every: defaultEvery, Timeout: defaultTimeout, CertificateDays: defaultCertDays, Machine: s.Machine, Severity: "warning"}
	var err error
	if c.URL, err = parseURL(s.URL); err != nil {
		return c, err
	}
	if c.Name == "" {
		c.Name = contract.Clean(strings.TrimSuffix(c.URL.Hostname()+":"+c.URL.Port(), ":"))
	}
	if err := contract.CheckMachine(c.Name); err != nil {
		return c, fmt.Errorf("name %q: at most 63 letters, digits, '_', '-', '.' and ':', no sign at either end; give it one as NAME=URL", c.Name)
	}
	if s.Every != nil {
		c.Every = time.Duration(*s.Every)
	}
	if c.Every < minEvery || c.Every > maxEvery {
		return c, fmt.Errorf("every: %s must be between %s and %s; a longer interval leaves gaps in queries", model.Duration(c.Every), model.Duration(minEvery), model.Duration(maxEvery))
	}
	if s.Timeout != nil {
		c.Timeout = time.Duration(*s.Timeout)
	} else {
		c.Timeout = min(c.Timeout, c.Every-scrapeMargin)
	}
	if c.Timeout < 100*time.Millisecond || c.Timeout > c.Every-scrapeMargin {
		return c, fmt.Errorf("timeout: %s must be between 100ms and %s, a second less than the interval", model.Duration(c.Timeout), model.Duration(c.Every-scrapeMargin))
	}
	isHTTP := c.URL.Scheme == "http" || c.URL.Scheme == "https"
	if !isHTTP && (len(s.Expect.Status) > 0 || s.Expect.Body != "") {
		return c, fmt.Errorf("expect.status and expect.body are for http:// and https://, not for %s://", c.URL.Scheme)
	}
	for _, code := range s.Expect.Status {
		if code < 100 || code > 599 {
			return c, fmt.Errorf("expect.status: %d is not an HTTP status code (100 to 599)", code)
		}
	}
	c.Status = slices.Compact(slices.Sorted(slices.Values(s.Expect.Status)))
	if s.Expect.Body != "" {
		if c.Body, err = regexp.Compile(s.Expect.Body); err != nil {
			return c, fmt.Errorf("expect.body: %q is not a regular expression: %w", s.Expect.Body, err)
		}
	}
	if d := s.Expect.CertificateDays; d != nil {
		if c.CertificateDays = *d; *d < 0 || *d > 365 {
			return c, fmt.Errorf("expect.certificateDays: %d must be between 0 and 365", *d)
		}
	}
	if len(s.From) > maxPlaces {
		return c, fmt.Errorf("from: %d machines; the maximum is %d", len(s.From), maxPlaces)
	}
	for i, machine := range s.From {
		if err := contract.CheckMachine(machine); err != nil {
			return c, fmt.Errorf("from: %w", err)
		}
		if slices.Contains(s.From[:i], machine) {
			return c, fmt.Errorf("from: %s is listed twice", machine)
		}
	}
	c.From = s.From
	if c.Machine != "" {
		if err := contract.CheckMachine(c.Machine); err != nil {
			return c, fmt.Errorf("machine: %w", err)
		}
	}
	switch s.Severity {
	case "":
	case "warning", "critical":
		c.Severity = s.Severity
	default:
		return c, fmt.Errorf("severity: %q must be warning or critical", s.Severity)
	}
	return c, nil
}

func parseURL(text string) (*url.URL, error) {
	known := "https, http, tcp, tls, ping, dns, smtp+starttls, imap+starttls, pop3+starttls"
	if text == "" {
		return nil, errors.New("url is missing, for example https://example.org")
	}
	u, err := url.Parse(text)
	if err != nil && strings.Contains(text, "@") { // perhaps a password
		return nil, fmt.Errorf("url is not a URL; it must be SCHEME://HOST with a scheme of %s", known)
	}
	if err != nil || !strings.Contains(text, "://") {
		return nil, fmt.Errorf("url %q must be SCHEME://HOST with a scheme of %s", text, known)
	}
	port, ok := schemes[u.Scheme]
	switch {
	case !ok:
		return nil, fmt.Errorf("url %q: unknown scheme %q; one of %s", u.Redacted(), u.Scheme, known)
	case u.User != nil:
		return nil, fmt.Errorf("url %q has a password, which would be shown; check a page that needs none", u.Redacted())
	case u.Hostname() == "":
		return nil, fmt.Errorf("url %q has no host", text)
	}
	if err := contract.CheckHost(u.Hostname()); err != nil {
		return nil, fmt.Errorf("url %q: %w", text, err)
	}
	if p := u.Port(); p != "" {
		if _, err := contract.ParsePort(p); err != nil {
			return nil, fmt.Errorf("url %q: %w", text, err)
		}
	}
	isHTTP := u.Scheme == "http" || u.Scheme == "https"
	switch {
	case port == 0 && u.Port() == "":
		return nil, fmt.Errorf("url %q has no port", text)
	case port < 0 && u.Port() != "":
		return nil, fmt.Errorf("url %q has a port; ping has none", text)
	case u.Scheme == "dns" && strings.Trim(u.Path, "/") == "":
		return nil, fmt.Errorf("url %q must name what to look up: dns://SERVER/NAME", text)
	case u.Scheme != "dns" && !isHTTP && (strings.Trim(u.Path, "/") != "" || u.RawQuery != ""):
		return nil, fmt.Errorf("url %q has a path; %s has none", text, u.Scheme)
	}
	u.Fragment = ""
	return u, nil
}

// Add appends c to all, unless there is one of that name already or there are too many.
func Add(all []Check, c Check) ([]Check, error) {
	if i := slices.IndexFunc(all, func(o Check) bool { return o.Name == c.Name }); i >= 0 {
		return nil, fmt.Errorf("check %q exists twice: %s and %s; give one of them another name", c.Name, all[i].Instance(), c.Instance())
	}
	if len(all) >= maxChecks {
		return nil, fmt.Errorf("more than %d checks; one server takes at most that many", maxChecks)
	}
	return append(all, c), nil
}

// Metadata reports whether an address is one at which clouds hand out credentials, or link-local:
// a check goes there only if its URL names the address itself.
func Metadata(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsLinkLocalUnicast() || a == netip.MustParseAddr("fd00:ec2::254") || a == netip.MustParseAddr("100.100.100.200")
}

// Places are the machines that run c; here is the one of this server.
func (c Check) Places(here string) []string {
	if len(c.From) == 0 {
		return []string{here}
	}
	return c.From
}

// Query describes c to an exporter that runs it: what is probed and expected, and not what that
// means. FromQuery is the reverse.
func (c Check) Query() url.Values {
	q := url.Values{"url": {c.Instance()}, "timeout": {c.Timeout.String()}}
	for _, code := range c.Status {
		q.Add("status", strconv.Itoa(code))
	}
	if c.Body != nil {
		q.Set("body", c.Body.String())
	}
	return q
}

// FromQuery reads what Query wrote, with the checks of a settings file.
func FromQuery(q url.Values) (Check, error) {
	timeout, err := time.ParseDuration(q.Get("timeout"))
	if err != nil {
		return Check{}, fmt.Errorf("timeout %q is not a duration, for example 10s", q.Get("timeout"))
	}
	every, limit := model.Duration(maxEvery), model.Duration(timeout)
	s := Section{URL: q.Get("url"), Every: &every, Timeout: &limit}
	s.Expect.Body = q.Get("body")
	for _, text := range q["status"] {
		code, err := strconv.Atoi(text)
		if err != nil {
			return Check{}, fmt.Errorf("status %q is not a number", text)
		}
		s.Expect.Status = append(s.Expect.Status, code)
	}
	return s.Complete("check")
}

// Part is the scrape configuration of the checks: a target for each and each place. They are
// scraped at address, through socket; here is the machine of this server. The targets have no
// label machine: their up says that the place responds, and nothing of the machine that a service
// runs on.
func Part(all []Check, address, socket, here string) contract.Part {
	var targets []any
	for _, c := range all {
		for _, from := range c.Places(here) {
			labels := map[string]string{
				"__param_module":      c.Name,
				"__param_from":        from,
				"__param_target":      c.Instance(),
				"__scheme__":          "http",
				"__unix_socket__":     socket,
				"__scrape_interval__": model.Duration(c.Every).String(),
				"__scrape_timeout__":  model.Duration(c.Timeout + scrapeMargin).String(),
				model.JobLabel:        Job,
				model.InstanceLabel:   c.Instance(),
				NameLabel:             c.Name,
				FromLabel:             from,
				contract.MetaMethod:   "check",
				contract.MetaFrom:     "this server",
			}
			targets = append(targets, map[string]any{"targets": []string{address}, "labels": labels})
		}
	}
	return contract.Part{Job: Pool, SD: map[string][]any{"static_configs": targets}}
}
