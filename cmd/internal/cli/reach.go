package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/config"
)

// Reach is how a sub-command reaches a server that runs: where it is, and the
// certificates and passwords that it asks for. No secret is on the command line.
type Reach struct {
	flag string // the one with the URL, for messages
	// Server is the URL, as it was given.
	Server string

	file                   string // promtool's --http.config.file
	ca, cert, key          string
	username, passwordFile string
}

// Flags defines the flags; urlFlag is what the one with the URL is called.
func (r *Reach) Flags(flag func(name, help string) *kingpin.FlagClause, urlFlag, help string) {
	r.flag = "--" + urlFlag
	flag(urlFlag, help).Default("http://localhost:9090").StringVar(&r.Server)
	flag("http.config.file", "HTTP client configuration file, see details at https://prometheus.io/docs/prometheus/latest/configuration/promtool").PlaceHolder("<filename>").StringVar(&r.file)
	flag("ca-file", "Path to the CA certificates that verify the server's certificate.").PlaceHolder("FILE").StringVar(&r.ca)
	flag("cert-file", "Path to the client certificate.").PlaceHolder("FILE").StringVar(&r.cert)
	flag("key-file", "Path to the key of the client certificate.").PlaceHolder("FILE").StringVar(&r.key)
	flag("username", "User name for basic authentication.").PlaceHolder("NAME").StringVar(&r.username)
	flag("password-file", "Path to a file with the password for basic authentication.").PlaceHolder("FILE").StringVar(&r.passwordFile)
}

// Check refuses flags that contradict each other.
func (r *Reach) Check() error {
	u, err := r.url()
	switch {
	case err != nil:
		return err
	case r.file != "" && (r.ca != "" || r.cert != "" || r.key != "" || r.username != "" || r.passwordFile != "" || u.User != nil):
		return UsageError("--http.config.file cannot be combined with --ca-file, --cert-file, --key-file, --username, --password-file or a user in the URL: set them in the file")
	case (r.cert == "") != (r.key == ""):
		return UsageError("--cert-file and --key-file must be set together")
	case r.passwordFile != "" && r.user(u) == "":
		return UsageError("--password-file needs a user: --username=NAME")
	}
	return nil
}

// url is the server's URL; without a scheme it is http.
func (r *Reach) url() (*url.URL, error) {
	u, err := url.Parse(r.Server)
	if err != nil || u.Host == "" {
		u, err = url.Parse("http://" + r.Server)
	}
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, UsageError("%s must be a URL such as https://hub.example.org:9090", r.flag)
	}
	return u, nil
}

func (r *Reach) user(u *url.URL) string {
	if r.username != "" {
		return r.username
	}
	return u.User.Username()
}

// Client returns a client and the URL of path on the server.
func (r *Reach) Client(path string) (*http.Client, *url.URL, error) {
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

// Do sends a request to the server and says what helps where it cannot.
func (r *Reach) Do(client *http.Client, req *http.Request) (*http.Response, error) {
	resp, err := client.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // the address is said here
		}
		hint := ""
		if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
			hint = "; set --ca-file to the CA that signed it"
		}
		return nil, fmt.Errorf("request to the server %s (%s): %w%s", r.origin(req.URL), r.flag, err, hint)
	}
	if resp.StatusCode == http.StatusUnauthorized {
		resp.Body.Close()
		return nil, refusal(r.origin(req.URL) + " requires authentication: set --username and --password-file, or --http.config.file")
	}
	return resp, nil
}

// Call sends body as JSON, if there is one, to clanmon's API and reads into data what it answers.
// An error of the API is a refusal, unless the server failed.
func (r *Reach) Call(ctx context.Context, method, path string, query url.Values, body, data any) error {
	client, to, err := r.Client(path)
	if err != nil {
		return err
	}
	client.Timeout = time.Minute
	to.RawQuery = query.Encode()
	var sent bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&sent).Encode(body); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, to.String(), &sent)
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := r.Do(client, req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	switch err := json.NewDecoder(resp.Body).Decode(&answer); {
	case err != nil || answer.Status == "":
		return fmt.Errorf("%s responds with %s: this is not a clanmon server; set %s", r.Server, resp.Status, r.flag)
	case answer.Error != "" && resp.StatusCode < http.StatusInternalServerError:
		return refusal(answer.Error)
	case answer.Error != "":
		return errors.New(answer.Error)
	}
	return nil
}

// refusal is why a server refuses what another attempt would not change.
type refusal string

func (r refusal) Error() string { return string(r) }

func (r *Reach) origin(u *url.URL) string { return u.Scheme + "://" + u.Host }
