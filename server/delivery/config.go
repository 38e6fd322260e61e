package delivery

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/alert"
	amconfig "github.com/prometheus/alertmanager/config"
	amcommon "github.com/prometheus/alertmanager/config/common"
	"github.com/prometheus/alertmanager/config/receiver"
	"github.com/prometheus/alertmanager/notify"
	amlabels "github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/alertmanager/template"
	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	yamlv2 "go.yaml.in/yaml/v2"
	"go.yaml.in/yaml/v3"

	"github.com/clanmon/clanmon/internal/calendar"
	"github.com/clanmon/clanmon/internal/yamlerror"
	"github.com/clanmon/clanmon/server/delivery/integration"
)

// Config is an Alertmanager configuration with the receivers that clanmon adds.
type Config struct {
	*amconfig.Config
	own map[string][]ownIntegration // by the name of the receiver

	// budgeted is the receiver whose integrations, but for the log, may notify
	// perMinute times; "" for none.
	budgeted  string
	perMinute int

	plan calendar.Plan // when people are notified

	secrets secrets // what is done where the file of one cannot be read
}

// ownIntegration is a configured receiver of package integration, or the log.
type ownIntegration struct {
	kind  string
	rs    notify.ResolvedSender
	make  func(*template.Template, *slog.Logger) (notify.Notifier, error)
	conf  any // for checks; may be nil
	index int // among those of its kind and receiver
}

// add gives a receiver one more integration. Each kind counts from 0, as
// Alertmanager's do.
func add(own map[string][]ownIntegration, receiver string, o ownIntegration) {
	for _, other := range own[receiver] {
		if other.kind == o.kind {
			o.index++
		}
	}
	own[receiver] = append(own[receiver], o)
}

// config is what the options name: a file, or a configuration of our own.
func (o Options) config() (*Config, error) {
	if o.ConfigFile != "" {
		return o.loadFile()
	}
	return defaultConfig(o)
}

// LoadConfig reads an alertmanager.yml. Beside what Alertmanager itself takes,
// a receiver may have ntfy_configs, gotify_configs and matrix_configs.
func LoadConfig(file string) (*Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	c, err := parseConfig(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, yamlerror.Hide(err))
	}
	c.resolvePaths(filepath.Dir(file))
	return c, nil
}

func parseConfig(text []byte) (*Config, error) {
	rest, own, err := liftOwn(text)
	if err != nil {
		return nil, err
	}
	upstream, err := amconfig.Load(string(rest))
	if err != nil {
		return nil, err
	}
	return &Config{Config: upstream, own: own}, nil
}

// registry makes a receiver of ours from its entry, by the key of the list that
// the entry is in.
var registry = map[string]func(entry []byte) (ownIntegration, error){
	"ntfy_configs": func(entry []byte) (ownIntegration, error) {
		c := &integration.NtfyConfig{}
		err := yamlv2.UnmarshalStrict(entry, c)
		return ownNtfy(c), err
	},
	"gotify_configs": func(entry []byte) (ownIntegration, error) {
		c := &integration.GotifyConfig{}
		err := yamlv2.UnmarshalStrict(entry, c)
		return ownGotify(c), err
	},
	"matrix_configs": func(entry []byte) (ownIntegration, error) {
		c := &integration.MatrixConfig{}
		err := yamlv2.UnmarshalStrict(entry, c)
		return ownMatrix(c), err
	},
}

func ownNtfy(c *integration.NtfyConfig) ownIntegration {
	return ownIntegration{kind: "ntfy", rs: c, conf: c, make: func(t *template.Template, l *slog.Logger) (notify.Notifier, error) {
		return integration.NewNtfy(c, t, l)
	}}
}

func ownGotify(c *integration.GotifyConfig) ownIntegration {
	return ownIntegration{kind: "gotify", rs: c, conf: c, make: func(t *template.Template, l *slog.Logger) (notify.Notifier, error) {
		return integration.NewGotify(c, t, l)
	}}
}

func ownMatrix(c *integration.MatrixConfig) ownIntegration {
	return ownIntegration{kind: "matrix", rs: c, conf: c, make: func(t *template.Template, l *slog.Logger) (notify.Notifier, error) {
		return integration.NewMatrix(c, t, l)
	}}
}

func ownMail(c *integration.MailConfig) ownIntegration {
	return ownIntegration{kind: "email", rs: c, conf: c, make: func(t *template.Template, l *slog.Logger) (notify.Notifier, error) {
		return integration.NewMail(c, t, l), nil
	}}
}

var entryLine = regexp.MustCompile(`(?m)^yaml: unmarshal errors:\n|^ *line \d+: | in type \S+$`)

// liftOwn takes our keys out of the receivers: Alertmanager's struct of a
// receiver is closed and its parser strict. A file without them is returned as
// it is, so that errors have its line numbers.
func liftOwn(text []byte) (rest []byte, own map[string][]ownIntegration, err error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil || len(doc.Content) == 0 {
		return text, nil, nil // upstream's parser has the better words
	}
	own = make(map[string][]ownIntegration)
	lifted := false
	for _, r := range items(value(doc.Content[0], "receivers")) {
		name := ""
		if n := value(r, "name"); n != nil {
			name = n.Value
		}
		for i := 0; i+1 < len(r.Content); {
			key := r.Content[i].Value
			read, ok := registry[key]
			if !ok {
				i += 2
				continue
			}
			for k, entry := range items(r.Content[i+1]) {
				text, err := yaml.Marshal(entry)
				if err != nil {
					return nil, nil, err
				}
				o, err := read(text)
				if err != nil {
					// The parser counts the entry's own lines, which nobody sees.
					text := entryLine.ReplaceAllString(yamlerror.Hide(err).Error(), "")
					return nil, nil, fmt.Errorf("line %d: receiver %q: %s[%d]: %s", entry.Line, name, key, k, text)
				}
				add(own, name, o)
			}
			r.Content = slices.Delete(r.Content, i, i+2)
			lifted = true
		}
	}
	if !lifted {
		return text, nil, nil
	}
	rest, err = yaml.Marshal(&doc)
	return rest, own, err
}

// value is what a mapping has under key, nil when it has not.
func value(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			if v := n.Content[i+1]; v.Kind == yaml.AliasNode {
				return v.Alias
			}
			return n.Content[i+1]
		}
	}
	return nil
}

// items are the mappings in a list.
func items(n *yaml.Node) []*yaml.Node {
	if n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	var all []*yaml.Node
	for _, item := range n.Content {
		if item.Kind == yaml.AliasNode {
			item = item.Alias
		}
		if item.Kind == yaml.MappingNode {
			all = append(all, item)
		}
	}
	return all
}

// resolvePaths makes paths relative to dir, as Alertmanager does where it reads
// a file itself.
func (c *Config) resolvePaths(dir string) {
	for i, t := range c.Templates {
		if t != "" && !filepath.IsAbs(t) {
			c.Templates[i] = filepath.Join(dir, t)
		}
	}
	set := func(_ string, v reflect.Value) error {
		if h, ok := v.Interface().(*commonconfig.HTTPClientConfig); ok && h != nil {
			h.SetDirectory(dir)
		}
		return nil
	}
	_ = walk("global", reflect.ValueOf(c.Global), set)
	_ = walk("receivers", reflect.ValueOf(c.Receivers), set)
	for _, list := range c.own {
		for _, o := range list {
			_ = walk("", reflect.ValueOf(o.conf), set)
		}
	}
}

// walk visits v and all that is in it, with its path in the file.
func walk(path string, v reflect.Value, visit func(path string, v reflect.Value) error) error {
	if !v.IsValid() || !v.CanInterface() {
		return nil
	}
	if err := visit(path, v); err != nil {
		return err
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			return walk(path, v.Elem(), visit)
		}
	case reflect.Slice:
		var errs []error
		for i := range v.Len() {
			errs = append(errs, walk(fmt.Sprintf("%s[%d]", path, i), v.Index(i), visit))
		}
		return errors.Join(errs...)
	case reflect.Struct:
		var errs []error
		for i := range v.NumField() {
			f := v.Type().Field(i)
			name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			at := path
			if !strings.Contains(options, "inline") && name != "" && name != "-" {
				at = strings.TrimPrefix(path+"."+name, ".")
			}
			errs = append(errs, walk(at, v.Field(i), visit))
		}
		return errors.Join(errs...)
	}
	return nil
}

// built is what a configuration becomes.
type built struct {
	*Config
	tmpl      *template.Template
	receivers map[string][]notify.Integration
	mask      *masker
	missing   []error // files of secrets that cannot be read, with secretsLate
}

// build makes templates and receivers, and finds what upstream would only
// stumble over with the first notification: a template that does not parse, a
// file that cannot be read.
func (c *Config) build(o Options, log *slog.Logger) (*built, error) {
	tmpl, err := integration.Templates(c.Templates)
	if err != nil {
		return nil, fmt.Errorf("templates: %w", err)
	}
	tmpl.ExternalURL = o.ExternalURL
	b := &built{Config: c, tmpl: tmpl, receivers: make(map[string][]notify.Integration), mask: newMasker(c, o)}
	if err := b.check(); err != nil {
		return nil, err
	}
	for _, r := range c.Receivers {
		list, err := receiver.BuildReceiverIntegrations(r, tmpl, log)
		if err != nil {
			if err = fmt.Errorf("receiver %q: %w", r.Name, err); !b.excused(err) {
				return nil, err
			}
			list = []notify.Integration{notify.NewIntegration(unusable{err}, always(true), "receiver", 0, r.Name)}
		}
		for _, own := range c.own[r.Name] {
			n, err := own.make(tmpl, log.With("integration", own.kind))
			if err != nil {
				if err = fmt.Errorf("receiver %q: %s[%d]: %w", r.Name, own.kind, own.index, err); !b.excused(err) {
					return nil, err
				}
				n = unusable{err}
			}
			list = append(list, notify.NewIntegration(n, own.rs, own.kind, own.index, r.Name))
		}
		b.receivers[r.Name] = list
	}
	return b, nil
}

func (b *built) check() error {
	data := b.tmpl.Data("test", nil, nil, "first_notification", sampleAlert())
	visit := func(path string, v reflect.Value) error {
		if v.Kind() != reflect.String {
			return nil
		}
		text := v.String()
		switch field := path[strings.LastIndex(path, ".")+1:]; {
		case text == "":
		case strings.HasSuffix(field, "_file") && !strings.Contains(text, "{{"):
			if err := hasSecret(text); err != nil {
				if err = fmt.Errorf("%s: %w", path, err); !b.excused(err) {
					return err
				}
			}
		case strings.Contains(text, "{{"):
			// Only what no data could cure is an error.
			_, err := b.tmpl.ExecuteTextString(text, data)
			if err != nil && (strings.Contains(err.Error(), "not defined") || !strings.Contains(err.Error(), "executing")) {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
		return nil
	}
	errs := []error{walk("global", reflect.ValueOf(b.Global), visit), walk("receivers", reflect.ValueOf(b.Receivers), visit)}
	for _, name := range sortedKeys(b.own) {
		for _, o := range b.own[name] {
			errs = append(errs, walk(fmt.Sprintf("receiver %q: %s_configs[%d]", name, o.kind, o.index), reflect.ValueOf(o.conf), visit))
		}
	}
	return errors.Join(errs...)
}

func sampleAlert() *alert.Alert {
	return alert.New(model.Alert{
		Labels:      model.LabelSet{"alertname": "Example", "severity": "warning", "machine": "example"},
		Annotations: model.LabelSet{"summary": "example", "description": "example"},
	}, time.Now(), false)
}

// Check reads a file as a server does, and returns what is worth a warning. With
// syntaxOnly the files of secrets that it names need not be there.
func Check(file string, syntaxOnly bool, log *slog.Logger) (c *Config, warnings []string, err error) {
	if c, err = LoadConfig(file); err != nil {
		return nil, nil, err
	}
	initMatchers(log)
	if syntaxOnly {
		c.secrets = secretsIgnored
	}
	if _, err := c.build(Options{ExternalURL: noURL}, log); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	return c, c.warnings(), nil
}

// warnings are what is allowed and hardly meant.
func (c *Config) warnings() []string {
	var found []string
	if cycle := inhibitionCycle(c.InhibitRules); cycle != "" {
		found = append(found, "inhibit_rules: "+cycle)
	}
	if c.TracingConfig.Endpoint != "" {
		found = append(found, "tracing: has no effect; use the section tracing of Prometheus' configuration file")
	}
	return found
}

// inhibitionCycle describes rules whose sources mute each other, so that an
// alert of each would be sent to nobody. It looks at the alerts that the sources
// name by equality.
func inhibitionCycle(rules []amcommon.InhibitRule) string {
	sources := make([]model.LabelSet, len(rules))
	for i, r := range rules {
		sources[i] = model.LabelSet{}
		for name, value := range r.SourceMatch {
			sources[i][model.LabelName(name)] = model.LabelValue(value)
		}
		for _, m := range r.SourceMatchers {
			if m.Type.String() == "=" {
				sources[i][model.LabelName(m.Name)] = model.LabelValue(m.Value)
			}
		}
	}
	mutes := func(i, j int) bool { // rule i mutes the source of rule j
		if len(sources[j]) == 0 {
			return false
		}
		for name, value := range rules[i].TargetMatch {
			if sources[j][model.LabelName(name)] != model.LabelValue(value) {
				return false
			}
		}
		for name, re := range rules[i].TargetMatchRE {
			if !re.MatchString(string(sources[j][model.LabelName(name)])) {
				return false
			}
		}
		return amlabels.Matchers(rules[i].TargetMatchers).Matches(sources[j])
	}
	for i := range rules {
		// Breadth first from i: is there a way back?
		seen, queue := map[int]bool{}, []int{i}
		for len(queue) > 0 {
			at := queue[0]
			queue = queue[1:]
			for j := range rules {
				if at == j || !mutes(at, j) {
					continue
				}
				if j == i {
					return fmt.Sprintf("rules %d and %d mute each other's source; when both fire, neither is notified", i, at)
				}
				if !seen[j] {
					seen[j] = true
					queue = append(queue, j)
				}
			}
		}
	}
	return ""
}
