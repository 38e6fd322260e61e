package discovery

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prometheus/common/config"
	"go.yaml.in/yaml/v2"
	yamlnode "go.yaml.in/yaml/v3"

	"github.com/clanmon/clanmon/discovery/contract"
	"github.com/clanmon/clanmon/discovery/dns"
	"github.com/clanmon/clanmon/discovery/inventory"
	"github.com/clanmon/clanmon/discovery/static"
	"github.com/clanmon/clanmon/discovery/tailscale"
)

// method is a way to find machines.
type method struct {
	name  string
	parts func(*Settings) ([]contract.Part, error)
	// needs is what Settings lack for it, "" if nothing; nil if it needs nothing.
	needs func(*Settings) string
}

// methods are all there are. Where two of them name the same machine, the earlier
// one says where it is: what a person wrote down comes before what was found.
var methods = []method{
	{static.Name, func(s *Settings) ([]contract.Part, error) { return static.Parts(s.Static) }, func(s *Settings) string {
		return missingIf(len(s.Static) == 0, "machines: --discovery.static JOB=HOST,…, or staticTargets in --clan.settings")
	}},
	{inventory.Name, func(s *Settings) ([]contract.Part, error) { return inventory.Parts(s.Inventory) }, func(s *Settings) string {
		return missingIf(s.Inventory == "", "a file: --discovery.inventory FILE, or inventoryFile in --clan.settings")
	}},
	{dns.Name, func(s *Settings) ([]contract.Part, error) { return dns.Parts(s.DNS), nil }, func(s *Settings) string {
		return missingIf(len(s.DNS) == 0, "a name: --discovery.dns JOB=NAME, or dnsDiscovery in --clan.settings")
	}},
	{tailscale.Name, func(s *Settings) ([]contract.Part, error) { return tailscale.Parts(s.Tailscale), nil }, nil},
}

// Methods are the names of all methods, in the order of their rank.
var Methods = names()

func names() []string {
	all := make([]string, len(methods))
	for i, m := range methods {
		all[i] = m.name
	}
	return all
}

// Flags are what the command line says, unparsed. The zero value finds nothing.
type Flags struct {
	Methods []string // --discovery
	DNS     []string // --discovery.dns, implies the method
	Static  []string // --discovery.static, implies the method
	// Inventory is a file; naming it implies the method.
	Inventory string

	TailscaleSocket       string
	TailscaleJobs         []string
	TailscaleTags         []string
	TailscaleIntermittent []string

	// SettingsFile is the file of --clan.settings.
	SettingsFile string
}

// Settings say how machines are found.
type Settings struct {
	Methods   []string // in the order of Methods, each once
	DNS       []dns.Lookup
	Static    []static.Target
	Inventory string
	Tailscale tailscale.Settings
	// Additional are scrape configurations as they are, YAML with the key
	// scrape_configs; empty without any.
	Additional []byte
	// TLS is how the targets of all methods are asked; nil for plain HTTP.
	TLS *TLS
	// Ignored are sections of the file whose method is not chosen.
	Ignored []string
}

// Enabled reports whether machines are looked for.
func (s *Settings) Enabled() bool { return len(s.Methods) > 0 }

// file is the content of --clan.settings, JSON or YAML, in the words of the clan
// service.
type file struct {
	EnableAutoDiscovery *bool                 `yaml:"enableAutoDiscovery"`
	DiscoveryMethod     words                 `yaml:"discoveryMethod"`
	DNSDiscovery        map[string]dnsSection `yaml:"dnsDiscovery"`
	StaticTargets       map[string][]string   `yaml:"staticTargets"`
	InventoryFile       string                `yaml:"inventoryFile"`
	Tailscale           *tailscaleSection     `yaml:"tailscale"`
	TLS                 *TLS                  `yaml:"tls"`
	Additional          any                   `yaml:"additionalScrapeConfigs"` // see additional
}

// TLS says by which certificates the server and the exporters know each other.
type TLS struct {
	CAFile   string `yaml:"caFile"`
	CertFile string `yaml:"certFile"`
	KeyFile  string `yaml:"keyFile"`
	// ServerName is what the certificates of the exporters are made out to, if
	// not to the address under which each is found.
	ServerName string `yaml:"serverName"`
}

// options are the fields of a scrape configuration.
func (t *TLS) options() map[string]any {
	config := make(map[string]string)
	for key, value := range map[string]string{"ca_file": t.CAFile, "cert_file": t.CertFile, "key_file": t.KeyFile, "server_name": t.ServerName} {
		if value != "" {
			config[key] = value
		}
	}
	return map[string]any{"scheme": "https", "tls_config": config}
}

type dnsSection struct {
	Names []string `yaml:"names"`
	Type  string   `yaml:"type"`
	Port  *int     `yaml:"port"`
}

type tailscaleSection struct {
	Socket           string   `yaml:"socket"`
	Jobs             []string `yaml:"jobs"`
	Tags             []string `yaml:"tags"`
	IntermittentTags []string `yaml:"intermittentTags"`
}

// words is one word or a list of them.
type words []string

func (w *words) UnmarshalYAML(unmarshal func(any) error) error {
	var one string
	if err := unmarshal(&one); err == nil {
		*w = words{one}
		return nil
	}
	return unmarshal((*[]string)(w))
}

// ReadFlags parses flags and the settings file that they name, if any. An error
// names the flag or the file and the key, the value, and what would be right.
func ReadFlags(f Flags) (*Settings, error) {
	s := &Settings{}
	if f.SettingsFile != "" {
		if err := s.readFile(f.SettingsFile); err != nil {
			return nil, fmt.Errorf("--clan.settings %q: %w", f.SettingsFile, err)
		}
	}
	for _, m := range f.Methods {
		if err := s.enable(m); err != nil {
			return nil, fmt.Errorf("--discovery: %w", err)
		}
	}
	for _, text := range f.DNS {
		l, err := dns.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("--discovery.dns: %w", err)
		}
		s.DNS = append(s.DNS, l)
		_ = s.enable(dns.Name)
	}
	for _, text := range f.Static {
		targets, err := static.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("--discovery.static: %w", err)
		}
		s.Static = append(s.Static, targets...)
		_ = s.enable(static.Name)
	}
	if f.Inventory != "" {
		s.Inventory = f.Inventory
		_ = s.enable(inventory.Name)
	}
	if f.TailscaleSocket != "" || len(f.TailscaleJobs)+len(f.TailscaleTags)+len(f.TailscaleIntermittent) > 0 {
		_ = s.enable(tailscale.Name)
	}
	err := s.tailscale(tailscaleSection{f.TailscaleSocket, f.TailscaleJobs, f.TailscaleTags, f.TailscaleIntermittent}, [4]string{
		"--discovery.tailscale.socket", "--discovery.tailscale.job", "--discovery.tailscale.tag", "--discovery.tailscale.intermittent-tag"})
	if err != nil {
		return nil, err
	}
	return s, s.complete()
}

// Files are those that ReadFlags and Parts read.
func Files(f Flags) []string {
	var files []string
	if f.SettingsFile != "" {
		files = append(files, f.SettingsFile)
	}
	if s, err := ReadFlags(f); err == nil && s.Inventory != "" {
		files = append(files, s.Inventory)
	}
	return files
}

// Refused are entries of files that a server would leave out.
func Refused(f Flags) ([]contract.Refused, error) {
	s, err := ReadFlags(f)
	if err != nil || !slices.Contains(s.Methods, inventory.Name) {
		return nil, err
	}
	_, refused, err := inventory.Load(s.Inventory)
	for i := range refused {
		refused[i].Method = inventory.Name
	}
	return refused, err
}

func (s *Settings) enable(method string) error {
	if !slices.Contains(Methods, method) {
		return fmt.Errorf("unknown method %q; one of %s", method, strings.Join(Methods, ", "))
	}
	if !slices.Contains(s.Methods, method) {
		s.Methods = append(s.Methods, method)
		slices.SortFunc(s.Methods, func(a, b string) int {
			return cmp.Compare(slices.Index(Methods, a), slices.Index(Methods, b))
		})
	}
	return nil
}

func (s *Settings) readFile(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	var f file
	if err := yaml.UnmarshalStrict(text, &f); err != nil {
		return readable(err)
	}
	if s.Additional, err = additional(text); err != nil {
		return err
	}
	s.TLS = f.TLS
	for _, m := range f.DiscoveryMethod {
		if m == "none" {
			continue
		}
		if err := s.enable(m); err != nil {
			return fmt.Errorf("discoveryMethod: %w, none", err)
		}
	}
	if f.EnableAutoDiscovery != nil && !*f.EnableAutoDiscovery {
		s.Methods = nil
		return nil
	}
	use := func(key, method string, given bool) bool {
		if given && !slices.Contains(s.Methods, method) {
			s.Ignored = append(s.Ignored, key)
			return false
		}
		return given
	}
	if use("dnsDiscovery", dns.Name, len(f.DNSDiscovery) > 0) {
		for _, job := range slices.SortedFunc(maps.Keys(f.DNSDiscovery), contract.CompareJobs) {
			if err := s.dnsSection(job, f.DNSDiscovery[job]); err != nil {
				return fmt.Errorf("dnsDiscovery.%s: %w", job, err)
			}
		}
	}
	if use("staticTargets", static.Name, len(f.StaticTargets) > 0) {
		for _, job := range slices.SortedFunc(maps.Keys(f.StaticTargets), contract.CompareJobs) {
			targets, err := static.ParseList("staticTargets in "+name, job, f.StaticTargets[job])
			if err != nil {
				return fmt.Errorf("staticTargets.%s: %w", job, err)
			}
			s.Static = append(s.Static, targets...)
		}
	}
	if use("inventoryFile", inventory.Name, f.InventoryFile != "") {
		s.Inventory = config.JoinDir(filepath.Dir(name), f.InventoryFile)
	}
	if use("tailscale", tailscale.Name, f.Tailscale != nil) {
		return s.tailscale(*f.Tailscale, [4]string{"tailscale.socket", "tailscale.jobs", "tailscale.tags", "tailscale.intermittentTags"})
	}
	return nil
}

// additional takes the scrape configurations out of the file as they are written:
// what was decoded would be written as something else (a password of 0123).
func additional(text []byte) ([]byte, error) {
	var f struct {
		Additional yamlnode.Node `yaml:"additionalScrapeConfigs"`
	}
	d := yamlnode.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err := d.Decode(&yamlnode.Node{}); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more than one document in the file; keep the first and remove what follows \"---\"")
	}
	if f.Additional.IsZero() || len(f.Additional.Content) == 0 {
		return nil, nil
	}
	return yamlnode.Marshal(map[string]*yamlnode.Node{"scrape_configs": &f.Additional})
}

func (s *Settings) dnsSection(job string, d dnsSection) error {
	if len(d.Names) == 0 {
		return errors.New("names is empty; name at least one DNS name")
	}
	for _, name := range d.Names {
		l := dns.Lookup{Job: job, Name: name, Type: d.Type}
		if d.Port != nil && !strings.EqualFold(d.Type, "SRV") {
			if err := contract.CheckPort(*d.Port); err != nil {
				return err
			}
			l.Port = *d.Port
		}
		l, err := l.Complete()
		if err != nil {
			return err
		}
		s.DNS = append(s.DNS, l)
	}
	return nil
}

// tailscale adds what a section says; keys are what its fields are called there.
func (s *Settings) tailscale(t tailscaleSection, keys [4]string) error {
	if t.Socket != "" {
		s.Tailscale.Socket = t.Socket
	}
	for _, text := range t.Jobs {
		j, err := tailscale.ParseJob(text)
		if err != nil {
			return fmt.Errorf("%s: %w", keys[1], err)
		}
		if s.Tailscale.Jobs, err = tailscale.AddJob(s.Tailscale.Jobs, j); err != nil {
			return fmt.Errorf("%s: %q: %w", keys[1], text, err)
		}
	}
	tags, err := tailscale.ParseTags(t.Tags)
	if err != nil {
		return fmt.Errorf("%s: %w", keys[2], err)
	}
	s.Tailscale.Tags = append(s.Tailscale.Tags, tags...)
	if tags, err = tailscale.ParseTags(t.IntermittentTags); err != nil {
		return fmt.Errorf("%s: %w", keys[3], err)
	}
	s.Tailscale.IntermittentTags = append(s.Tailscale.IntermittentTags, tags...)
	return nil
}

// complete fills in defaults and refuses a method that has nothing to look for.
func (s *Settings) complete() error {
	if len(s.Tailscale.Jobs) == 0 {
		for _, name := range tailscale.DefaultJobs {
			j, _ := tailscale.ParseJob(name)
			s.Tailscale.Jobs = append(s.Tailscale.Jobs, j)
		}
	}
	if len(s.Tailscale.IntermittentTags) == 0 {
		s.Tailscale.IntermittentTags = tailscale.DefaultIntermittentTags
	}
	for _, m := range methods {
		if m.needs == nil || !slices.Contains(s.Methods, m.name) {
			continue
		}
		if missing := m.needs(s); missing != "" {
			return fmt.Errorf("discovery method %q needs %s", m.name, missing)
		}
	}
	return nil
}

func missingIf(missing bool, what string) string {
	if missing {
		return what
	}
	return ""
}

// readable takes the names of Go types out of an error of the YAML library.
func readable(err error) error {
	e, ok := errors.AsType[*yaml.TypeError](err)
	if !ok {
		return err
	}
	for i, text := range e.Errors {
		if before, _, ok := strings.Cut(text, " not found in type "); ok {
			e.Errors[i] = before + " is unknown; known are enableAutoDiscovery, discoveryMethod, dnsDiscovery.<job>.{names,type,port}, staticTargets.<job>, inventoryFile, tailscale.{socket,jobs,tags,intermittentTags}, tls.{caFile,certFile,keyFile,serverName}, additionalScrapeConfigs"
		} else if before, typ, ok := strings.Cut(text, " into "); ok {
			e.Errors[i] = before + ": it has to be " + kind(typ)
		}
	}
	return e
}

// kind is what a Go type is to those who write YAML.
func kind(typ string) string {
	switch typ {
	case "bool":
		return "true or false"
	case "int":
		return "a number"
	case "string":
		return "a word"
	case "[]string":
		return "a list"
	}
	return "keys and values"
}

// Parts are what the methods add to the scrape configurations, in the order of
// the methods.
func (s *Settings) Parts() ([]contract.Part, error) {
	var parts []contract.Part
	for _, m := range methods {
		if !slices.Contains(s.Methods, m.name) {
			continue
		}
		more, err := m.parts(s)
		if err != nil {
			return nil, fmt.Errorf("discovery method %q: %w", m.name, err)
		}
		parts = append(parts, more...)
	}
	if s.TLS != nil {
		for i := range parts {
			if parts[i].Options == nil {
				parts[i].Options = make(map[string]any)
			}
			maps.Copy(parts[i].Options, s.TLS.options())
		}
	}
	return parts, nil
}

// Assemble makes one scrape configuration of all parts of a job, in the words of
// Prometheus' file. Its last rules make the labels of the contract.
func Assemble(parts []contract.Part) []map[string]any {
	byJob := make(map[string]map[string]any)
	rules := make(map[string][]contract.Relabel)
	for _, p := range parts {
		job := byJob[p.Job]
		if job == nil {
			job = map[string]any{"job_name": p.Job}
			byJob[p.Job] = job
		}
		for kind, list := range p.SD {
			have, _ := job[kind].([]any)
			job[kind] = append(have, list...)
		}
		maps.Copy(job, p.Options)
		for _, r := range p.Relabel {
			if !slices.ContainsFunc(rules[p.Job], r.Equal) {
				rules[p.Job] = append(rules[p.Job], r)
			}
		}
	}
	var configs []map[string]any
	for _, name := range slices.SortedFunc(maps.Keys(byJob), contract.CompareJobs) {
		byJob[name]["relabel_configs"] = append(rules[name], contract.Rules()...)
		configs = append(configs, byJob[name])
	}
	return configs
}
