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
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v2"
	yamlnode "go.yaml.in/yaml/v3"

	"github.com/clanmon/clanmon/discovery/checks"
	"github.com/clanmon/clanmon/discovery/contract"
	"github.com/clanmon/clanmon/discovery/dns"
	"github.com/clanmon/clanmon/discovery/inventory"
	"github.com/clanmon/clanmon/discovery/static"
	"github.com/clanmon/clanmon/discovery/tailscale"
	"github.com/clanmon/clanmon/internal/calendar"
	"github.com/clanmon/clanmon/internal/yamlerror"
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
	Checks    []string // --check
	// Notifications say when people are notified, --notify.quiet and so on.
	Notifications calendar.Words

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
	// TLS is how the targets of TLS.Methods are scraped; nil for plain HTTP.
	TLS *TLS
	// Checks are services to look at from outside, by any method or none.
	Checks []checks.Check
	// Plan says when people are notified; notifications is what the file says of it.
	Plan          calendar.Plan
	notifications calendar.Words
	// Boards are files of read-only boards.
	Boards []string
	// Ignored are sections of the file whose method is not chosen.
	Ignored []string
	// Server is what the file says about the server itself.
	Server Server
}

// Enabled reports whether machines are looked for, or services checked.
func (s *Settings) Enabled() bool { return len(s.Methods)+len(s.Checks) > 0 }

// file is the content of --clan.settings, JSON or YAML, in the words of the clan
// service.
type file struct {
	EnableAutoDiscovery *bool                     `yaml:"enableAutoDiscovery"`
	DiscoveryMethod     words                     `yaml:"discoveryMethod"`
	DNSDiscovery        map[string]dnsSection     `yaml:"dnsDiscovery"`
	StaticTargets       map[string][]string       `yaml:"staticTargets"`
	InventoryFile       string                    `yaml:"inventoryFile"`
	Tailscale           *tailscaleSection         `yaml:"tailscale"`
	Checks              map[string]checks.Section `yaml:"checks"`
	Notifications       notifications             `yaml:"notifications"`
	Boards              words                     `yaml:"boards"`
	TLS                 *TLS                      `yaml:"tls"`
	Identity            Identity                  `yaml:"identity"`
	Look                look                      `yaml:"look"`
	Push                Push                      `yaml:"push"`
	Backfill            Backfill                  `yaml:"backfill"`
	Query               Query                     `yaml:"query"`
	ExternalLabels      map[string]string         `yaml:"externalLabels"`
	Additional          any                       `yaml:"additionalScrapeConfigs"` // see written
	Pings               any                       `yaml:"pings"`                   // the same
	RemoteWrite         any                       `yaml:"remoteWrite"`             // the same
}

// TLS says by which certificates the server and the exporters know each other.
type TLS struct {
	// Methods are those whose targets have such certificates; the targets of all
	// others are scraped over plain HTTP. Empty is inventory alone.
	Methods  words  `yaml:"methods"`
	CAFile   string `yaml:"caFile"`
	CertFile string `yaml:"certFile"`
	KeyFile  string `yaml:"keyFile"`
	// ServerName is what the certificates of the exporters are made out to, if
	// not to the address under which each is found.
	ServerName string `yaml:"serverName"`
}

// complete fills in the default of Methods, and refuses methods that are not among chosen:
// a target that was meant to be scraped over TLS must not be scraped without it in silence.
func (t *TLS) complete(chosen []string) error {
	for _, m := range t.Methods {
		if !slices.Contains(Methods, m) {
			return fmt.Errorf("tls.methods: unknown method %q; one of %s", m, strings.Join(Methods, ", "))
		}
	}
	if len(t.Methods) > 0 || len(chosen) == 0 {
		return nil
	}
	if !slices.Contains(chosen, inventory.Name) {
		return fmt.Errorf("tls: applies to targets of the method %q, which is not enabled; list the methods whose targets have certificates in tls.methods, for example [%s]", inventory.Name, chosen[0])
	}
	t.Methods = words{inventory.Name}
	return nil
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

type notifications struct {
	Quiet    words  `yaml:"quiet"`
	Digest   string `yaml:"digest"`
	DigestAt string `yaml:"digestAt"`
	TimeZone string `yaml:"timeZone"`
}

func (n notifications) words() calendar.Words {
	return calendar.Words{Quiet: n.Quiet, Digest: n.Digest, DigestAt: n.DigestAt, Zone: n.TimeZone}
}

type look struct {
	Enable bool `yaml:"enable"`
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
	var err error
	s.Plan, err = f.Notifications.Or(s.notifications).Parse([4]string{"--notify.quiet", "--notify.digest", "--notify.digest-at", "--notify.time-zone"})
	if err != nil {
		return nil, err
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
	for _, text := range f.Checks {
		c, err := checks.Parse(text)
		if err == nil {
			s.Checks, err = checks.Add(s.Checks, c)
		}
		if err != nil {
			return nil, fmt.Errorf("--check: %w", err)
		}
	}
	if f.Inventory != "" {
		s.Inventory = f.Inventory
		_ = s.enable(inventory.Name)
	}
	if f.TailscaleSocket != "" || len(f.TailscaleJobs)+len(f.TailscaleTags)+len(f.TailscaleIntermittent) > 0 {
		_ = s.enable(tailscale.Name)
	}
	err = s.tailscale(tailscaleSection{f.TailscaleSocket, f.TailscaleJobs, f.TailscaleTags, f.TailscaleIntermittent}, [4]string{
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
		return yamlerror.Readable(err, validKeys)
	}
	s.Server = Server{
		Identity: f.Identity, Look: f.Look.Enable, Push: f.Push, Backfill: f.Backfill, Query: f.Query, ExternalLabels: f.ExternalLabels,
	}
	for _, file := range []*string{&s.Server.Identity.TokenFile, &s.Server.Identity.OIDC.ClientSecretFile, &s.Server.Query.ConfigFile} {
		*file = config.JoinDir(filepath.Dir(name), *file)
	}
	if err := s.written(text); err != nil {
		return err
	}
	s.TLS = f.TLS
	s.notifications = f.Notifications.words()
	_, err = s.notifications.Parse([4]string{"notifications.quiet", "notifications.digest", "notifications.digestAt", "notifications.timeZone"})
	if err != nil {
		return err
	}
	for _, board := range f.Boards {
		s.Boards = append(s.Boards, config.JoinDir(filepath.Dir(name), board))
	}
	for _, name := range slices.Sorted(maps.Keys(f.Checks)) {
		c, err := f.Checks[name].Complete(name)
		if err == nil {
			s.Checks, err = checks.Add(s.Checks, c)
		}
		if err != nil {
			return fmt.Errorf("checks.%s: %w", name, err)
		}
	}
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

// written takes sections out of the file as they are written: what was decoded would be
// written as something else (a password of 0123).
func (s *Settings) written(text []byte) error {
	var f struct {
		Additional  yamlnode.Node `yaml:"additionalScrapeConfigs"`
		Pings       yamlnode.Node `yaml:"pings"`
		RemoteWrite yamlnode.Node `yaml:"remoteWrite"`
	}
	d := yamlnode.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := d.Decode(&yamlnode.Node{}); !errors.Is(err, io.EOF) {
		return errors.New("the file has more than one document; remove everything after the first \"---\"")
	}
	for _, section := range []struct {
		node *yamlnode.Node
		name string
		key  string
		to   *[]byte
	}{
		{&f.Additional, "additionalScrapeConfigs", "scrape_configs", &s.Additional},
		{&f.Pings, "pings", "pings", &s.Server.Pings},
		{&f.RemoteWrite, "remoteWrite", "remote_write", &s.Server.RemoteWrite},
	} {
		if section.node.Kind == yamlnode.ScalarNode && section.node.ShortTag() != "!!null" {
			return fmt.Errorf("line %d: %s: it must be a list or a map", section.node.Line, section.name)
		}
		if section.node.IsZero() || len(section.node.Content) == 0 {
			continue
		}
		var err error
		if *section.to, err = yamlnode.Marshal(map[string]*yamlnode.Node{section.key: section.node}); err != nil {
			return err
		}
	}
	return nil
}

func (s *Settings) dnsSection(job string, d dnsSection) error {
	if len(d.Names) == 0 {
		return errors.New("names is empty; add at least one DNS name")
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
	if s.TLS != nil {
		return s.TLS.complete(s.Methods)
	}
	return nil
}

func missingIf(missing bool, what string) string {
	if missing {
		return what
	}
	return ""
}

// validKeys are those of the file.
const validKeys = "enableAutoDiscovery, discoveryMethod, dnsDiscovery.<job>.{names,type,port}, staticTargets.<job>, inventoryFile, tailscale.{socket,jobs,tags,intermittentTags}, tls.{methods,caFile,certFile,keyFile,serverName}, checks.<name>.{url,every,timeout,expect.{status,body,certificateDays},from,machine,severity}, notifications.{quiet,digest,digestAt,timeZone}, boards, identity.{operators,viewers,header,groupsHeader,trustedProxies,tokenFile,oidc.{issuer,clientId,clientSecretFile,scopes,nameClaim}}, look.enable, push.{enable,availability,seriesLimit}, backfill.{enable,maxAge}, query.{url,dialect,configFile}, pings.<name>.{token,tokenFile,every,grace,machine,backup}, remoteWrite, externalLabels.<name>, additionalScrapeConfigs"

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
		if s.TLS != nil {
			s.TLS.apply(m.name, more)
		}
		parts = append(parts, more...)
	}
	return parts, nil
}

// apply adds to the parts of a method how their targets are scraped. A job has one scheme,
// so targets without certificates say themselves that theirs is another one.
func (t *TLS) apply(method string, parts []contract.Part) {
	for i := range parts {
		if !slices.Contains(t.Methods, method) {
			parts[i].Relabel = append(parts[i].Relabel, contract.Set(contract.MetaMethod, method, model.SchemeLabel, "http"))
			continue
		}
		if parts[i].Options == nil {
			parts[i].Options = make(map[string]any)
		}
		maps.Copy(parts[i].Options, t.options())
	}
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
