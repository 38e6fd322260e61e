package engine

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v2"

	"github.com/clanmon/clanmon/internal/yamlerror"
)

// Dialect is what an engine understands.
type Dialect string

// The engines that are known.
const (
	Prometheus      Dialect = "prometheus"
	Thanos          Dialect = "thanos"
	Mimir           Dialect = "mimir"
	VictoriaMetrics Dialect = "victoriametrics"
)

// Dialects are all of them.
var Dialects = []string{string(Prometheus), string(Thanos), string(Mimir), string(VictoriaMetrics)}

// Settings say where the engine is.
type Settings struct {
	URL        *url.URL
	Dialect    Dialect
	ConfigFile string // --query.config-file, "" for none
}

// ParseURL reads --query.url.
func ParseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("not a URL; it must be http://HOST/PATH or https://HOST/PATH")
	case u.User != nil || strings.Contains(u.Opaque, "@"):
		return nil, errors.New("the URL must not contain a user or password, which every user of this machine can read on the command line; write basic_auth to the file of --query.config-file")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("the URL must not have a query or fragment; it ends with the path below which /api/v1 is")
	case u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%q must be http://HOST/PATH or https://HOST/PATH", text)
	}
	return u, nil
}

// file is what --query.config-file may contain.
type file struct {
	Timeout model.Duration                `yaml:"timeout"`
	HTTP    commonconfig.HTTPClientConfig `yaml:",inline"`
}

// Check reads --query.config-file.
func (s *Settings) Check() error {
	if _, err := s.load(); err != nil {
		return fmt.Errorf("%q: %w", s.ConfigFile, err)
	}
	return nil
}

// load reads --query.config-file.
func (s *Settings) load() (*file, error) {
	f := &file{Timeout: model.Duration(10 * time.Second), HTTP: commonconfig.DefaultHTTPClientConfig}
	if s.ConfigFile == "" {
		return f, nil
	}
	text, err := os.ReadFile(s.ConfigFile)
	if err != nil {
		return nil, err
	}
	if err := yaml.UnmarshalStrict(text, f); err != nil {
		return nil, yamlerror.Hide(err)
	}
	if f.Timeout <= 0 {
		return nil, fmt.Errorf("timeout: %s must be more than 0s, such as 10s", f.Timeout)
	}
	f.HTTP.SetDirectory(filepath.Dir(s.ConfigFile))
	return f, f.HTTP.Validate()
}
