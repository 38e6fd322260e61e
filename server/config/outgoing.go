package config

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strings"

	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
)

// Receiver is where samples are sent by remote write.
type Receiver struct{ *url.URL }

// ParseReceiver reads --remote-write.
func ParseReceiver(text string) (Receiver, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return Receiver{}, errors.New("not a URL; it must be http://HOST/PATH or https://HOST/PATH")
	case u.User != nil || strings.Contains(u.Opaque, "@"):
		return Receiver{}, errors.New("the URL must not contain a user or password, which every user of this machine can read on the command line; write remote_write with basic_auth in the configuration file")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return Receiver{}, errors.New("the URL must not have a query or fragment, which every user of this machine can read on the command line; write remote_write in the configuration file")
	case u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return Receiver{}, fmt.Errorf("%q must be http://HOST/PATH or https://HOST/PATH", text)
	}
	return Receiver{u}, nil
}

// Label is an external label.
type Label struct{ Name, Value string }

// ParseLabel reads --external-label, NAME=VALUE.
func ParseLabel(text string) (Label, error) {
	name, value, found := strings.Cut(text, "=")
	if !found || value == "" || !model.LegacyValidation.IsValidLabelName(name) || strings.HasPrefix(name, model.ReservedLabelPrefix) {
		return Label{}, fmt.Errorf("%q must be NAME=VALUE, such as site=home", text)
	}
	return Label{name, value}, nil
}

// addOutgoing adds receivers and external labels of the flags and the settings. What two
// places say is refused where it contradicts.
func (l *Loader) addOutgoing(cfg *config.Config, logger *slog.Logger) error {
	settings := l.Server()
	file := fmt.Sprintf("--clan.settings %q", l.opts.Discovery.SettingsFile)
	external := labels.NewBuilder(cfg.GlobalConfig.ExternalLabels)
	addLabel := func(from string, add Label) error {
		if value := external.Get(add.Name); value != "" && value != add.Value {
			return fmt.Errorf("%s %s=%s: external_labels already has %s=%q; set one of the two", from, add.Name, add.Value, add.Name, value)
		}
		external.Set(add.Name, add.Value)
		return nil
	}
	for _, add := range l.opts.ExternalLabels {
		if err := addLabel("--external-label", add); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(settings.ExternalLabels)) {
		add, err := ParseLabel(name + "=" + settings.ExternalLabels[name])
		if err != nil {
			return fmt.Errorf("%s: externalLabels: %w", file, err)
		}
		if err := addLabel(file+": externalLabels:", add); err != nil {
			return err
		}
	}
	cfg.GlobalConfig.ExternalLabels = external.Labels()
	addReceiver := func(from string, w *config.RemoteWriteConfig) error {
		for _, other := range cfg.RemoteWriteConfigs {
			if other.URL.String() == w.URL.String() {
				return fmt.Errorf("%s %s: remote_write already has this URL", from, w.URL.Redacted())
			}
		}
		cfg.RemoteWriteConfigs = append(cfg.RemoteWriteConfigs, w)
		return nil
	}
	for _, r := range l.opts.RemoteWrite {
		w := config.DefaultRemoteWriteConfig
		w.URL = &commonconfig.URL{URL: r.URL}
		if err := addReceiver("--remote-write", &w); err != nil {
			return err
		}
	}
	written, err := l.parse(cfg, settings.RemoteWrite, logger)
	if err != nil {
		return fmt.Errorf("%s: remoteWrite: %w", file, err)
	}
	for _, w := range written.RemoteWriteConfigs {
		if err := addReceiver(file+": remoteWrite", w); err != nil {
			return err
		}
	}
	return nil
}
