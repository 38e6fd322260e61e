package exporter

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/config"

	"github.com/clanmon/clanmon/exporter/blackbox"
	"github.com/clanmon/clanmon/exporter/push"
	wire "github.com/clanmon/clanmon/internal/history"
	"github.com/clanmon/clanmon/internal/yamlerror"
)

// PushPath is where a server takes what is pushed.
const PushPath = "/api/v1/push"

// PushOptions say where what was gathered is sent, and how this machine proves who it is.
type PushOptions struct {
	// URLs of receivers of remote write; none for no push. One without a path is that of a
	// clanmon server.
	URLs []*url.URL
	// ConfigFile is a client configuration, in the format of http_client_config.
	ConfigFile string
	// TokenFile has a token, which is read at each request; Token is one.
	TokenFile, Token string
}

func (o PushOptions) check(all *Options) error {
	switch {
	case len(o.URLs) == 0 && (o.ConfigFile != "" || o.TokenFile != ""):
		return errors.New("--push.config.file and --push.token-file need --push: the URL of a server")
	case len(o.URLs) > 0 && all.History.Keep == 0:
		return errors.New("--push sends from the history: --history must not be 0")
	case len(o.URLs) > 0 && all.History.Dir == "":
		return errors.New("--push needs a directory for what is not sent yet: set --history.path, or StateDirectory= in the systemd unit")
	case o.ConfigFile != "" && (o.TokenFile != "" || o.Token != ""):
		return errors.New("--push.config.file cannot be combined with --push.token-file or CLANMON_PUSH_TOKEN: set authorization in the file")
	case o.TokenFile != "" && o.Token != "":
		return errors.New("--push.token-file and CLANMON_PUSH_TOKEN both set the token; remove one")
	case all.Look.Enabled && !all.Listens():
		return errors.New("--look needs a port, and with --push none is open by default: set --web.listen-address")
	}
	for i, u := range o.URLs {
		if slices.ContainsFunc(o.URLs[:i], func(other *url.URL) bool { return *other == *u }) {
			return fmt.Errorf("--push %s is set twice", u)
		}
	}
	return nil
}

// ParseReceiver reads --push. What it returns may be in logs and metrics.
func ParseReceiver(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("not a URL; it must be https://HOST:PORT or https://HOST/PATH")
	case u.User != nil || strings.Contains(u.Opaque, "@"):
		return nil, errors.New("the URL must not contain a user or password, which every user of this machine can read on the command line; use --push.token-file, or basic_auth in the file of --push.config.file")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, fmt.Errorf("%q must not have a query or fragment, which would be in logs and metrics; use --push.token-file, or http_headers in the file of --push.config.file", (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()+"?…")
	case u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%q must be https://HOST:PORT or https://HOST/PATH", text)
	}
	return u, nil
}

// addSenders makes what sends to each receiver.
func (e *Exporter) addSenders() error {
	o := e.opts.Push
	if len(o.URLs) == 0 {
		return nil
	}
	if e.history == nil {
		return fmt.Errorf("--web.telemetry-path %s is where the history is, which --push needs: use another path", wire.Path)
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("--push: name of this machine: %w", err)
	}
	conf := config.DefaultHTTPClientConfig
	switch {
	case o.ConfigFile != "":
		file, _, err := config.LoadHTTPConfigFile(o.ConfigFile)
		if err != nil {
			return fmt.Errorf("--push.config.file %q: %w", o.ConfigFile, yamlerror.Hide(err))
		}
		conf = *file
	case o.TokenFile != "":
		if _, err := os.ReadFile(o.TokenFile); err != nil {
			return fmt.Errorf("--push.token-file: %w", err)
		}
		conf.Authorization = &config.Authorization{Type: "Bearer", CredentialsFile: o.TokenFile}
	case o.Token != "":
		conf.Authorization = &config.Authorization{Type: "Bearer", Credentials: config.Secret(o.Token)}
	}
	conf.FollowRedirects = false // it would make a POST a GET
	instances := make(map[string]string)
	for _, s := range e.servers {
		if s.kind.Name != blackbox.Name { // a server has its own job of that name
			instances[s.kind.Name] = net.JoinHostPort(host, strconv.Itoa(s.kind.Port))
		}
	}
	for _, u := range o.URLs {
		to := *u
		if to.Path == "" || to.Path == "/" {
			to.Path = PushPath
		}
		client, err := config.NewClientFromConfig(conf, "push")
		if err != nil {
			return fmt.Errorf("--push %s: %w", &to, err)
		}
		log := e.opts.Logger.With("component", "push")
		if ip := net.ParseIP(to.Hostname()); to.Scheme == "http" && conf.Authorization != nil && to.Hostname() != "localhost" && !ip.IsLoopback() {
			log.Warn("The token is sent unencrypted; use https, unless the network encrypts", "receiver", to.String())
		}
		e.senders = append(e.senders, push.New(push.Options{
			URL: &to, Client: client, Dir: e.opts.History.Dir, Interval: e.opts.History.Interval, Instances: instances,
			Read: e.history.Read, Oldest: func() int64 { oldest, _ := e.history.Span(); return oldest }, Last: e.kept,
			Secrets: func() []string { return secretsOf(&conf) }, UserAgent: "clanmon/" + e.opts.Version, Registerer: e.servers[0].gather.own, Logger: log,
		}))
	}
	return nil
}

// secretsOf are the secrets of a client configuration, as they are now.
func secretsOf(c *config.HTTPClientConfig) (all []string) {
	add := func(value config.Secret, file string) {
		all = append(all, string(value))
		if content, err := os.ReadFile(file); err == nil { // else requests fail before they are sent
			all = append(all, strings.TrimSpace(string(content)))
		}
	}
	if a := c.Authorization; a != nil {
		add(a.Credentials, a.CredentialsFile)
	}
	if b := c.BasicAuth; b != nil {
		add(b.Password, b.PasswordFile)
	}
	proxies := []config.ProxyConfig{c.ProxyConfig}
	if o := c.OAuth2; o != nil {
		add(o.ClientSecret, o.ClientSecretFile)
		proxies = append(proxies, o.ProxyConfig)
	}
	for _, p := range proxies {
		if p.ProxyURL.URL != nil {
			password, _ := p.ProxyURL.User.Password()
			add(config.Secret(password), "")
		}
		for _, values := range p.ProxyConnectHeader {
			for _, v := range values {
				add(v, "")
			}
		}
	}
	if c.HTTPHeaders != nil {
		for _, h := range c.HTTPHeaders.Headers {
			for _, v := range h.Secrets {
				add(v, "")
			}
			for _, f := range h.Files {
				add("", f)
			}
		}
	}
	return all
}

// dropping is called before gathers are dropped.
func (e *Exporter) dropping(from, to int64) {
	for _, s := range e.senders {
		s.Dropping(from, to)
	}
}
