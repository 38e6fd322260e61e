// Package inventory finds machines in a file that the clan module writes: JSON
// with each machine's addresses, tags, availability and exporters.
//
//	{"machines": {
//	  "web1": {"addresses": ["10.0.0.1", "web1.example.org"], "tags": ["web"],
//	           "availability": "always", "exporters": {"node": 9100, "nginx": null}}
//	}}
//
// The first address is scraped, and when that fails the first of the others that responds. A null port is the usual one of that exporter.
// The file is looked at every few seconds and read again when it changed; while
// it cannot be read, what was found before stays. A machine or an exporter that
// is wrong is left out and reported; all others are used.
package inventory

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"

	"github.com/clanmon/clanmon/discovery/contract"
)

// Name of the mechanism and of the method.
const Name = "inventory"

func init() { discovery.RegisterConfig(&SDConfig{}) }

// Machine is an entry of the file.
type Machine struct {
	Addresses    []string        `json:"addresses"`
	Tags         []string        `json:"tags"`
	Availability string          `json:"availability"`
	Exporters    map[string]*int `json:"exporters"`
}

// maxMachines bounds what a file may ask of this server: each machine is scraped
// by at least one goroutine with buffers of its own.
const maxMachines = 20_000

// Load reads and checks a file. The keys are names of machines. What is wrong with
// single machines or exporters is refused; they are not among the machines.
func Load(file string) (machines map[string]Machine, refused []contract.Refused, err error) {
	text, err := os.ReadFile(file)
	if err == nil {
		machines, refused, err = parse(text)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("inventory %q: %w", file, err)
	}
	return machines, refused, nil
}

func parse(text []byte) (map[string]Machine, []contract.Refused, error) {
	var content struct {
		Machines map[string]json.RawMessage `json:"machines"`
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&content); err != nil {
		return nil, nil, place(text, dec, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, nil, fmt.Errorf("line %d: unexpected content after the end", line(text, dec.InputOffset()))
	}
	if n := len(content.Machines); n > maxMachines {
		return nil, nil, fmt.Errorf("it has %d machines; the maximum is %d: split them over several servers", n, maxMachines)
	}
	machines := make(map[string]Machine, len(content.Machines))
	var refused []contract.Refused
	refuse := func(entry string, err error) {
		refused = append(refused, contract.Refused{Entry: cmp.Or(entry, "(no name)"), Reason: err.Error()})
	}
	owners := make(map[string]string) // job and address → machine
	for _, name := range slices.Sorted(maps.Keys(content.Machines)) {
		m, err := decode(content.Machines[name])
		if err == nil {
			err = m.check(name)
		}
		if err != nil {
			refuse(name, err)
			continue
		}
		for _, job := range slices.Sorted(maps.Keys(m.Exporters)) {
			port, err := m.port(job)
			if err == nil {
				key := job + " " + net.JoinHostPort(m.Addresses[0], strconv.Itoa(port))
				if other, taken := owners[key]; taken {
					err = fmt.Errorf("%s is already scraped as %s; remove one of the two, or change its address or port", key, other)
				}
				owners[key] = cmp.Or(owners[key], name)
			}
			if err != nil {
				refuse(name+" exporters."+job, err)
				delete(m.Exporters, job)
			}
		}
		machines[name] = m
	}
	return machines, refused, nil
}

// decode reads one machine.
func decode(text json.RawMessage) (m Machine, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	err = dec.Decode(&m)
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return m, wrongType(e)
	}
	return m, err
}

// place says in which line JSON is wrong.
func place(text []byte, dec *json.Decoder, err error) error {
	offset := dec.InputOffset()
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		offset = e.Offset
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("line %d: %w", line(text, e.Offset), wrongType(e))
	}
	return fmt.Errorf("line %d: %w", line(text, offset), err)
}

func wrongType(e *json.UnmarshalTypeError) error {
	what := "it"
	if e.Field != "" {
		what = "field " + e.Field
	}
	return fmt.Errorf("%s is %s; it must be %s", what, article(e.Value), article(kind(e.Type)))
}

func article(noun string) string {
	if strings.HasPrefix(noun, "a") || strings.HasPrefix(noun, "o") {
		return "an " + noun
	}
	return "a " + noun
}

// kind is what a Go type is in JSON.
func kind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Slice:
		return "list"
	case reflect.Map, reflect.Struct:
		return "object"
	case reflect.String:
		return "string"
	}
	return "number"
}

func line(text []byte, offset int64) int {
	return 1 + bytes.Count(text[:min(int(offset), len(text))], []byte("\n"))
}

// check looks at everything but the ports of the exporters.
func (m Machine) check(name string) error {
	if err := contract.CheckMachine(name); err != nil {
		return err
	}
	if len(m.Addresses) == 0 {
		return errors.New("addresses is empty; add at least one address or host name")
	}
	for _, a := range m.Addresses {
		if err := contract.CheckHost(a); err != nil {
			return fmt.Errorf("addresses: %w; set ports in exporters", err)
		}
	}
	switch m.Availability {
	case "", contract.Always, contract.Intermittent:
	default:
		return fmt.Errorf("availability is %q; it must be %q or %q", m.Availability, contract.Always, contract.Intermittent)
	}
	return nil
}

func (m Machine) port(job string) (int, error) {
	if err := contract.CheckJob(job); err != nil {
		return 0, err
	}
	if p := m.Exporters[job]; p != nil {
		return *p, contract.CheckPort(*p)
	}
	return contract.Port(job)
}

// SDConfig is a section of inventory_sd_configs.
type SDConfig struct {
	File string `yaml:"file"`
	// Job chooses the exporters of the file.
	Job             string         `yaml:"job"`
	RefreshInterval model.Duration `yaml:"refresh_interval,omitempty"`
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (c *SDConfig) UnmarshalYAML(unmarshal func(any) error) error {
	*c = SDConfig{RefreshInterval: model.Duration(5 * time.Second)}
	type plain SDConfig
	if err := unmarshal((*plain)(c)); err != nil {
		return err
	}
	switch {
	case c.File == "":
		return errors.New("inventory_sd_configs: file is missing")
	case c.Job == "":
		return errors.New("inventory_sd_configs: job is missing; it is the name of an exporter in the file")
	case c.RefreshInterval <= 0:
		return errors.New("inventory_sd_configs: refresh_interval must be greater than 0")
	}
	return nil
}

// SetDirectory implements config.DirectorySetter.
func (c *SDConfig) SetDirectory(dir string) { c.File = config.JoinDir(dir, c.File) }

// Name implements discovery.Config.
func (*SDConfig) Name() string { return Name }

// Describe implements contract.Section.
func (c *SDConfig) Describe() (method, from string) { return Name, c.File }

// NewDiscovererMetrics implements discovery.Config.
func (*SDConfig) NewDiscovererMetrics(_ prometheus.Registerer, rmi discovery.RefreshMetricsInstantiator) discovery.DiscovererMetrics {
	return &contract.Metrics{Method: Name, Refresh: rmi}
}

// NewDiscoverer implements discovery.Config.
func (c *SDConfig) NewDiscoverer(o discovery.DiscovererOptions) (discovery.Discoverer, error) {
	m, ok := o.Metrics.(*contract.Metrics)
	if !ok {
		return nil, fmt.Errorf("inventory: discovery metrics are of type %T", o.Metrics)
	}
	log := o.Logger
	if log == nil {
		log = promslog.NewNopLogger()
	}
	return &Discovery{config: *c, log: log, status: m.Reporter(o.SetName, c.File)}, nil
}

// Discovery is a running discovery.
type Discovery struct {
	config SDConfig
	log    *slog.Logger
	status *contract.StatusReporter
}

// Run implements discovery.Discoverer.
func (d *Discovery) Run(ctx context.Context, up chan<- []*targetgroup.Group) {
	defer d.status.Close()
	tick := time.NewTicker(time.Duration(d.config.RefreshInterval))
	defer tick.Stop()
	var last []byte
	for first := true; ; first = false {
		begin := time.Now()
		// Reading it is as cheap as asking for its time, and works where a file is
		// a link into a store in which all files have the same time.
		text, err := os.ReadFile(d.config.File)
		if first || err != nil || !bytes.Equal(text, last) {
			var machines map[string]Machine
			var refused []contract.Refused
			if err == nil {
				machines, refused, err = parse(text)
			}
			if err != nil {
				err = fmt.Errorf("inventory %q: %w", d.config.File, err)
			}
			d.status.Refreshed(d.log, time.Since(begin), err)
			if err == nil {
				last = text
				d.status.Refuse(d.log, refused)
				select {
				case up <- []*targetgroup.Group{d.group(machines)}:
				case <-ctx.Done():
					return
				}
			}
		} else {
			d.status.Refreshed(d.log, time.Since(begin), nil)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (d *Discovery) group(machines map[string]Machine) *targetgroup.Group {
	g := &targetgroup.Group{Source: d.config.File}
	for _, name := range slices.Sorted(maps.Keys(machines)) {
		m := machines[name]
		if _, ok := m.Exporters[d.config.Job]; !ok {
			continue
		}
		port, _ := m.port(d.config.Job) // was checked
		t := model.LabelSet{
			model.AddressLabel:     model.LabelValue(net.JoinHostPort(m.Addresses[0], strconv.Itoa(port))),
			meta("machine"):        model.LabelValue(name),
			meta("addresses"):      model.LabelValue(contract.List(m.Addresses)),
			meta("tags"):           model.LabelValue(contract.List(m.Tags)),
			meta("availability"):   model.LabelValue(cmp.Or(m.Availability, contract.Always)),
			contract.MetaMethod:    Name,
			contract.MetaMachine:   model.LabelValue(name),
			contract.MetaFrom:      model.LabelValue(d.config.File),
			contract.MetaAddresses: model.LabelValue(contract.List(m.Addresses)),
			contract.MetaTags:      model.LabelValue(contract.List(contract.Tags(m.Tags))),
		}
		if m.Availability != "" {
			t[contract.MetaAvailability] = model.LabelValue(m.Availability)
		}
		g.Targets = append(g.Targets, t)
	}
	return g
}

func meta(name string) model.LabelName { return contract.Meta("inventory_", name) }

// Parts are the parts of the scrape configurations: of the usual jobs, and of
// others that the file names now.
func Parts(file string) ([]contract.Part, error) {
	machines, _, err := Load(file) // who is refused is said by the discovery
	if err != nil {
		return nil, err
	}
	if file, err = filepath.Abs(file); err != nil {
		return nil, err
	}
	jobs := contract.Jobs()
	for _, m := range machines {
		jobs = slices.AppendSeq(jobs, maps.Keys(m.Exporters))
	}
	slices.SortFunc(jobs, contract.CompareJobs)
	var parts []contract.Part
	for _, job := range slices.Compact(jobs) {
		parts = append(parts, contract.Part{
			Job: job, SD: map[string][]any{"inventory_sd_configs": {map[string]any{"file": file, "job": job}}},
		})
	}
	return parts, nil
}
