package server

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"

	toolkit "github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v2"
)

// ExternalURL reads --web.external-url. Without one, the server is taken to be
// reachable under its host name at the port of its first listen address, by https
// if webConfigFile sets up TLS. A file that cannot be read does not; Listen says
// what is wrong with it.
func ExternalURL(raw, listenAddress, webConfigFile string) (*url.URL, error) {
	if raw == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, err
		}
		_, port, err := net.SplitHostPort(listenAddress)
		if err != nil {
			return nil, fmt.Errorf("--web.listen-address %q: %w; write HOST:PORT or :PORT", listenAddress, err)
		}
		scheme := "http"
		if setsUpTLS(webConfigFile) {
			scheme = "https"
		}
		raw = fmt.Sprintf("%s://%s:%s/", scheme, host, port)
	}
	if strings.Trim(raw, `'"`) != raw {
		return nil, errors.New("must not begin or end with quotes")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, err
	}
	u.Path = strings.TrimRight(u.Path, "/")
	if u.Path != "" && !strings.HasPrefix(u.Path, "/") {
		u.Path = "/" + u.Path
	}
	return u, nil
}

// withoutUser is u without user and password. Pages, notifications and other servers need
// neither.
func withoutUser(u *url.URL) *url.URL {
	public := *u
	public.User = nil
	return &public
}

func setsUpTLS(webConfigFile string) bool {
	text, err := os.ReadFile(webConfigFile)
	var c toolkit.Config
	return err == nil && yaml.Unmarshal(text, &c) == nil && c.TLSConfig.IsEnabled()
}

// RoutePrefix is the path that all endpoints share: prefix if given, else that
// of the external URL; "/" at least.
func RoutePrefix(prefix, externalPath string) string {
	if prefix == "" {
		prefix = externalPath
	}
	return "/" + strings.Trim(prefix, "/")
}
