package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/config"

	"github.com/clanmon/clanmon/cmd/internal/cli"
)

// reach is how a sub-command reaches a server that runs: where it is, and the
// certificates and passwords that it asks for. No secret is on the command line.
type reach struct {
	flag   string // the one with the URL, for messages
	server string

	file                   string // promtool's --http.config.file
	ca, cert, key          string
	username, passwordFile string
}

// flags defines the flags; urlFlag is what the one with the URL is called.
func (r *reach) flags(flag func(name, help string) *kingpin.FlagClause, urlFlag, help string) {
	r.flag = "--" + urlFlag
	flag(urlFlag, help).Default("http://localhost:9090").StringVar(&r.server)
	flag("http.config.file", "HTTP client configuration file, see details at https://prometheus.io/docs/prometheus/latest/configuration/promtool").PlaceHolder("<filename>").StringVar(&r.file)
	flag("ca-file", "Certificates of the authorities that the server's certificate may come from.").PlaceHolder("FILE").StringVar(&r.ca)
	flag("cert-file", "Client certificate, for a server that requires one.").PlaceHolder("FILE").StringVar(&r.cert)
	flag("key-file", "Key of the client certificate.").PlaceHolder("FILE").StringVar(&r.key)
	flag("username", "User name for basic authentication.").PlaceHolder("NAME").StringVar(&r.username)
	flag("password-file", "File with the password for basic authentication.").PlaceHolder("FILE").StringVar(&r.passwordFile)
}

// check refuses flags that contradict each other.
func (r *reach) check() error {
	u, err := r.url()
	switch {
	case err != nil:
		return err
	case r.file != "" && (r.ca != "" || r.cert != "" || r.key != "" || r.username != "" || r.passwordFile != "" || u.User != nil):
		return cli.UsageError("--http.config.file says all about TLS and authentication; leave out --ca-file, --cert-file, --key-file, --username, --password-file and a user in the URL")
	case (r.cert == "") != (r.key == ""):
		return cli.UsageError("--cert-file and --key-file belong together; give both")
	case r.passwordFile != "" && r.user(u) == "":
		return cli.UsageError("--password-file needs a user: --username=NAME")
	}
	return nil
}

// url is the server's URL; without a scheme it is http.
func (r *reach) url() (*url.URL, error) {
	u, err := url.Parse(r.server)
	if err != nil || u.Host == "" {
		u, err = url.Parse("http://" + r.server)
	}
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, cli.UsageError("%s has to be a URL such as https://hub.example.org:9090", r.flag)
	}
	return u, nil
}

func (r *reach) user(u *url.URL) string {
	if r.username != "" {
		return r.username
	}
	return u.User.Username()
}

// client returns a client and the URL of path on the server.
func (r *reach) client(path string) (*http.Client, *url.URL, error) {
	u, err := r.url()
	if err != nil {
		return nil, nil, err
	}
	conf := &config.HTTPClientConfig{FollowRedirects: true, EnableHTTP2: true}
	if r.file != "" {
		if conf, _, err = config.LoadHTTPConfigFile(r.file); err != nil {
			return nil, nil, fmt.Errorf("--http.config.file %q: %w", r.file, err)
		}
	}
	for _, f := range []struct{ flag, file string }{{"ca-file", r.ca}, {"cert-file", r.cert}, {"key-file", r.key}, {"password-file", r.passwordFile}} {
		if f.file == "" {
			continue
		}
		opened, err := os.Open(f.file)
		if err != nil {
			return nil, nil, fmt.Errorf("--%s: %w", f.flag, err)
		}
		opened.Close()
	}
	if r.ca != "" || r.cert != "" {
		conf.TLSConfig = config.TLSConfig{CAFile: r.ca, CertFile: r.cert, KeyFile: r.key}
	}
	if user := r.user(u); user != "" && r.file == "" {
		conf.BasicAuth = &config.BasicAuth{Username: user, PasswordFile: r.passwordFile}
		if password, ok := u.User.Password(); ok && r.passwordFile == "" {
			conf.BasicAuth.Password = config.Secret(password)
		}
	}
	u.User = nil
	client, err := config.NewClientFromConfig(*conf, "clanmon")
	if err != nil {
		return nil, nil, err
	}
	return client, u.JoinPath(path), nil
}

// do sends a request to the server and says what helps where it cannot.
func (r *reach) do(client *http.Client, req *http.Request) (*http.Response, error) {
	resp, err := client.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // the address is said here
		}
		hint := ""
		if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
			hint = "; --ca-file names the authority that it comes from"
		}
		return nil, fmt.Errorf("ask the server %s (%s): %w%s", r.origin(req.URL), r.flag, err, hint)
	}
	if resp.StatusCode == http.StatusUnauthorized {
		resp.Body.Close()
		return nil, fmt.Errorf("%s asks for a password: give --username and --password-file, or --http.config.file", r.origin(req.URL))
	}
	return resp, nil
}

func (r *reach) origin(u *url.URL) string { return u.Scheme + "://" + u.Host }
