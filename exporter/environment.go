package exporter

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// WebVariables are the environment variables by which an upstream program takes
// where and how it is served; "" is none. They count for the kind's own port only:
// some have names that may be anybody's.
type WebVariables struct {
	ListenAddress, TelemetryPath, ConfigFile, SystemdSocket string

	// Refused are those that have no effect here. A start with one of them would
	// serve without what was asked for, so it is refused.
	Refused map[string]Refusal
}

// A Refusal says what to use instead of a variable.
type Refusal struct {
	Use      string
	Harmless func(value string) bool // nil if any value but "" is refused
}

func isNot(want bool) func(string) bool {
	return func(value string) bool {
		got, err := strconv.ParseBool(value)
		return err != nil || got != want // upstream ignores what is neither
	}
}

// Environment fills in what the environment says about how the kinds are served,
// where o does not say it yet. Kinds has to be set; lookup is os.LookupEnv. An error
// names the variable and never its value, which may be a secret.
func (o *Options) Environment(lookup func(string) (string, bool)) error {
	value := func(name string) string {
		if name == "" {
			return ""
		}
		v, _ := lookup(name)
		return v
	}
	var errs []error
	for _, k := range kinds {
		if !slices.Contains(o.Kinds, k.Name) {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(k.Web.Refused)) {
			r := k.Web.Refused[name]
			if v := value(name); v != "" && (r.Harmless == nil || !r.Harmless(v)) {
				errs = append(errs, fmt.Errorf("environment variable %s is not supported: use %s instead, and unset it", name, r.Use))
			}
		}
		if v := value(k.Web.ListenAddress); v != "" && len(o.Listen[k.Name]) == 0 {
			if o.Listen == nil {
				o.Listen = map[string][]string{}
			}
			o.Listen[k.Name] = strings.Split(v, "\n")
		}
		if v := value(k.Web.SystemdSocket); v != "" && !o.SystemdSocket {
			on, err := strconv.ParseBool(v)
			switch {
			case err != nil:
				errs = append(errs, fmt.Errorf("environment variable %s must be true or false", k.Web.SystemdSocket))
			case on && len(o.Kinds) > 1:
				errs = append(errs, fmt.Errorf("environment variable %s applies to the %s exporter only, and others run too: use --web.systemd-socket and FileDescriptorName= instead, and unset it", k.Web.SystemdSocket, k.Name))
			default:
				o.SystemdSocket = on
			}
		}
		var w WebSettings
		if o.TelemetryPath == "" {
			w.TelemetryPath = value(k.Web.TelemetryPath)
		}
		if file := value(k.Web.ConfigFile); file != "" && o.WebConfigFile == "" {
			w.ConfigFile = file
			w.ConfigFileSource = fmt.Sprintf("environment variable %s (TLS and authentication of the %s exporter)", k.Web.ConfigFile, k.Name)
		}
		if w != (WebSettings{}) {
			if o.Web == nil {
				o.Web = map[string]WebSettings{}
			}
			o.Web[k.Name] = w
		}
	}
	return errors.Join(errs...)
}
