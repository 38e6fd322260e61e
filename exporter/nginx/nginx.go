// Package nginx exposes nginx: nginx-prometheus-exporter's collectors of the
// stub_status page, and of the API of NGINX Plus. It is the only importer of
// nginx-prometheus-exporter.
//
// A scrape asks nginx once, within the scrape's deadline. The package holds idle
// connections between scrapes, which closing the Set gives back.
package nginx

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	plus "github.com/nginx/nginx-plus-go-client/v3/client"
	"github.com/nginx/nginx-prometheus-exporter/client"
	upstream "github.com/nginx/nginx-prometheus-exporter/collector"
	"github.com/pires/go-proxyproto"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/clanmon/clanmon/exporter/collector"
	"github.com/clanmon/clanmon/exporter/internal/kindflags"
	"github.com/clanmon/clanmon/exporter/internal/logsink"
)

// Name of the kind.
const Name = "nginx"

// usual is where the page is when nobody says: upstream's default, then NixOS'
// statusPage, then what most tutorials write.
var usual = []string{
	"http://127.0.0.1:8080/stub_status",
	"http://127.0.0.1/nginx_status",
	"http://127.0.0.1/stub_status",
}

// longestAnswer bounds what is read of an answer.
const longestAnswer = 16 << 20

// Config of the kind.
type Config struct {
	Plus          bool
	URIs          []string // of the page or API, or unix:SOCKET:PATH; none for the usual places
	Verify        bool     // the server's certificate
	CAFile        string
	CertFile      string
	KeyFile       string
	ProxyProtocol bool
	Timeout       time.Duration // 0 for none but the scrape's
	Labels        map[string]string
}

// Flags declares the flags of upstream.
func (c *Config) Flags(f *kindflags.Set) {
	c.Labels = map[string]string{}
	f.Flag("nginx.scrape-uri", "SCRAPE_URI", "nginx: A URI or unix domain socket path for scraping NGINX or NGINX Plus metrics. For NGINX, the stub_status page must be available through the URI. For NGINX Plus -- the API. Repeatable for multiple URIs.").PlaceHolder(usual[0]).StringsVar(&c.URIs)
	f.Flag("nginx.plus", "NGINX_PLUS", "nginx: Start the exporter for NGINX Plus. By default, the exporter is started for NGINX.").BoolVar(&c.Plus)
	f.Flag("nginx.timeout", "TIMEOUT", "nginx: A timeout for scraping metrics from NGINX or NGINX Plus.").Default("5s").DurationVar(&c.Timeout)
	f.Flag("nginx.ssl-verify", "SSL_VERIFY", "nginx: Perform SSL certificate verification.").BoolVar(&c.Verify)
	f.Flag("nginx.ssl-ca-cert", "SSL_CA_CERT", "nginx: Path to the PEM encoded CA certificate file used to validate the servers SSL certificate.").StringVar(&c.CAFile)
	f.Flag("nginx.ssl-client-cert", "SSL_CLIENT_CERT", "nginx: Path to the PEM encoded client certificate file to use when connecting to the server.").StringVar(&c.CertFile)
	f.Flag("nginx.ssl-client-key", "SSL_CLIENT_KEY", "nginx: Path to the PEM encoded client certificate key file to use when connecting to the server.").StringVar(&c.KeyFile)
	f.Flag("nginx.proxy-protocol", "PROXY_PROTOCOL", "nginx: Pass proxy protocol payload to nginx listeners.").BoolVar(&c.ProxyProtocol)
	f.Flag("prometheus.const-label", "CONST_LABELS", "nginx: Label that will be used in every metric. Format is label=value. It can be repeated multiple times.").StringMapVar(&c.Labels)
}

// New returns one collector per address.
func New(c Config, log *slog.Logger) (*collector.Set, error) {
	if c.Timeout < 0 {
		return nil, fmt.Errorf("--nginx.timeout: %v is negative", c.Timeout)
	}
	tlsConfig, err := c.tls()
	if err != nil {
		return nil, err
	}
	if len(c.URIs) == 0 && !c.Plus {
		var places []*place
		for _, uri := range usual {
			p, err := newPlace(c, uri, tlsConfig, c.Labels, log)
			if err != nil {
				return nil, err
			}
			places = append(places, p)
		}
		return set(map[string]collector.Collector{Name: &anyOf{places: places}}, log), nil
	}
	if len(c.URIs) == 0 {
		return nil, errors.New("--nginx.plus needs --nginx.scrape-uri, such as http://127.0.0.1:8080/api")
	}
	members := map[string]collector.Collector{}
	for _, uri := range c.URIs {
		labels, name := c.Labels, Name
		if len(c.URIs) > 1 {
			name = redacted(uri)
			labels = maps.Clone(c.Labels)
			if labels == nil {
				labels = map[string]string{}
			}
			labels["addr"] = name
		}
		if members[name] != nil {
			return nil, fmt.Errorf("--nginx.scrape-uri %q is given twice", name)
		}
		p, err := newPlace(c, uri, tlsConfig, labels, log)
		if err != nil {
			return nil, err
		}
		members[name] = p
	}
	return set(members, log), nil
}

func set(members map[string]collector.Collector, log *slog.Logger) *collector.Set {
	return collector.NewSet(members, log, collector.Report)
}

func (c Config) tls() (*tls.Config, error) {
	// Not verifying is upstream's default: status pages are local.
	t := &tls.Config{InsecureSkipVerify: !c.Verify}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("--nginx.ssl-ca-cert: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--nginx.ssl-ca-cert: %q has no certificate in PEM format", c.CAFile)
		}
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		return nil, errors.New("--nginx.ssl-client-cert and --nginx.ssl-client-key go together; only one is given")
	}
	if c.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("--nginx.ssl-client-cert %q, --nginx.ssl-client-key %q: %w", c.CertFile, c.KeyFile, err)
		}
		t.Certificates = []tls.Certificate{cert}
	}
	return t, nil
}

// place is one address of a page or API.
type place struct {
	uri       string // without a password
	upstream  prometheus.Collector
	transport *http.Transport
	errors    logsink.Sink
	down      []prometheus.Metric
	ctx       context.Context // of the scrape under way; there is never more than one
}

func newPlace(c Config, uri string, tlsConfig *tls.Config, labels map[string]string, log *slog.Logger) (*place, error) {
	address, socket := uri, ""
	if rest, ok := strings.CutPrefix(uri, "unix:"); ok {
		socket, address, _ = strings.Cut(rest, ":")
		if socket == "" || strings.Contains(address, ":") {
			return nil, fmt.Errorf("--nginx.scrape-uri %q: must be unix:SOCKET or unix:SOCKET:PATH", uri)
		}
		address = "http://unix" + address
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("--nginx.scrape-uri is not a URL (not shown because it may contain a password)")
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("--nginx.scrape-uri %q: must be http://HOST:PORT/PATH, https://HOST:PORT/PATH or unix:SOCKET:PATH", redacted(uri))
	}
	p := &place{uri: redacted(uri)}
	p.errors.Scrub = func(text string) string { return strings.ReplaceAll(text, uri, p.uri) }
	p.transport = &http.Transport{TLSClientConfig: tlsConfig, DialContext: dialer(socket, c.ProxyProtocol), MaxIdleConns: 1}
	httpClient := &http.Client{Timeout: c.Timeout, Transport: p}
	namespace := "nginx"
	if c.Plus {
		namespace = "nginxplus"
		api, err := plus.NewNginxClient(address, plus.WithHTTPClient(httpClient))
		if err != nil {
			return nil, fmt.Errorf("NGINX Plus at %s: %w", p.uri, err)
		}
		p.upstream = upstream.NewNginxPlusCollector(api, namespace, upstream.NewVariableLabelNames(nil, nil, nil, nil, nil, nil, nil), labels, p.errors.Logger(log))
	} else {
		p.upstream = upstream.NewNginxCollector(client.NewNginxClient(httpClient, address), namespace, labels, p.errors.Logger(log))
	}
	up := prometheus.NewDesc(namespace+"_up", "Status of the last metric scrape", nil, labels)
	p.down = []prometheus.Metric{prometheus.MustNewConstMetric(up, prometheus.GaugeValue, 0)}
	return p, nil
}

func (p *place) Collect(ctx context.Context, ch chan<- prometheus.Metric) error {
	_ = p.errors.Take() // left over from a run that was given up
	p.ctx = ctx
	p.upstream.Collect(ch)
	return p.errors.Take()
}

func (p *place) Down() []prometheus.Metric { return p.down }

func (p *place) Close() error {
	p.transport.CloseIdleConnections()
	return nil
}

// RoundTrip makes upstream's requests end with the scrape, and bounds the answers.
func (p *place) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context()) // ends when upstream closes the answer or its timeout passes
	stop := context.AfterFunc(p.ctx, cancel)
	r = r.Clone(ctx)
	r.Header.Set("User-Agent", "clanmon")
	answer, err := p.transport.RoundTrip(r)
	if err != nil {
		stop()
		cancel()
		return nil, err
	}
	answer.Body = &body{Reader: io.LimitReader(answer.Body, longestAnswer), closer: answer.Body, end: func() { stop(); cancel() }}
	return answer, nil
}

type body struct {
	io.Reader
	closer io.Closer
	end    func()
}

func (b *body) Close() error {
	defer b.end()
	return b.closer.Close()
}

// anyOf takes the first place that answers, and stays with it as long as it does.
type anyOf struct {
	places []*place
	last   int
}

func (a *anyOf) Collect(ctx context.Context, ch chan<- prometheus.Metric) error {
	var first error
	for i := range a.places {
		at := (a.last + i) % len(a.places)
		found, err := a.places[at].buffered(ctx)
		if err == nil {
			a.last = at
			for _, m := range found {
				ch <- m
			}
			return nil
		}
		if first == nil {
			first = err
		}
	}
	a.last = 0
	for _, m := range a.Down() {
		ch <- m
	}
	return fmt.Errorf("no stub_status page in the usual places; set --nginx.scrape-uri: %w", first)
}

func (p *place) buffered(ctx context.Context) ([]prometheus.Metric, error) {
	ch := make(chan prometheus.Metric, 16) // more than there are of stub_status
	err := p.Collect(ctx, ch)
	close(ch)
	var found []prometheus.Metric
	for m := range ch {
		found = append(found, m)
	}
	return found, err
}

func (a *anyOf) Down() []prometheus.Metric { return a.places[0].down }

func (a *anyOf) Close() error {
	for _, p := range a.places {
		_ = p.Close() // has no error to return
	}
	return nil
}

// dialer connects to the socket if there is one, and speaks the proxy protocol
// if asked to.
func dialer(socket string, proxyProtocol bool) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if socket != "" {
			network, address = "unix", socket
		}
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil || !proxyProtocol {
			return conn, err
		}
		header := proxyproto.HeaderProxyFromAddrs(2, conn.LocalAddr(), conn.RemoteAddr())
		if _, err := header.WriteTo(conn); err != nil {
			conn.Close()
			return nil, fmt.Errorf("proxy protocol to %s: %w", address, err)
		}
		return conn, nil
	}
}

// redacted is uri without the password that may be in it.
func redacted(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.User == nil {
		return uri
	}
	return u.Redacted()
}
