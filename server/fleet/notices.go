package fleet

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Notice is a line above the table: something that is not about one machine.
type Notice struct {
	Level  string `json:"level"` // critical, warning or info
	Kind   string `json:"kind"`
	Text   string `json:"text"`
	Detail string `json:"detail,omitempty"` // what to do, or what it says in full
	Link   string `json:"link,omitempty"`   // a page of the web UI
}

// relabelling adds the label machine to the targets of a job of the user's own.
const relabelling = `relabel_configs:
  - source_labels: [__address__]
    regex: '(.+?)(:[0-9]+)?'
    target_label: machine`

func (f *Fleet) notices(s *snapshot) []Notice {
	all := s.storageNotices()
	if f.opts.Agent {
		all = append(all, f.receiverNotices()...)
	}
	all = append(all, f.peerNotices()...)
	if f.opts.Quiet != nil {
		if until, quiet := f.opts.Quiet(); quiet {
			all = append(all, Notice{info, "quiet", "Quiet hours" + until + ": only critical alerts are sent", "", "/alerts"})
		}
	}
	var failing []string // methods
	for _, m := range f.opts.Status() {
		if m.Error == "" || slices.Contains(failing, m.Method) {
			continue
		}
		failing = append(failing, m.Method)
		n := Notice{Level: warning, Kind: "discovery", Text: fmt.Sprintf("Discovery %q is failing", m.Method), Detail: m.Error, Link: "/targets?tab=discovery"}
		if m.LastSuccess.IsZero() {
			n.Level, n.Text = critical, fmt.Sprintf("Discovery %q has never succeeded", m.Method)
		}
		all = append(all, n)
	}
	if refused := f.discovery().Refused; len(refused) > 0 {
		first := refused[0]
		all = append(all, Notice{info, "discovery", fmt.Sprintf("Discovery ignores %s", invalid(len(refused))), fmt.Sprintf("%s: %s: %s", first.Method, first.Entry, first.Reason), "/targets?tab=discovery"})
	}
	var unlabelled, fed, quiet []string
	newest := time.Time{}
	for name, j := range s.machines {
		if !j.labelled {
			unlabelled = append(unlabelled, name)
		}
		if !j.fedOnly() {
			continue
		}
		fed = append(fed, name)
		if s.at.Sub(j.seen) > quietAfter {
			quiet = append(quiet, name)
		}
		if j.seen.After(newest) {
			newest = j.seen
		}
	}
	switch {
	case len(fed) == 0 || s.blind():
	case len(quiet) == 0 && len(fed) == len(s.machines):
		all = append(all, Notice{info, "fed", fmt.Sprintf("Fed by %s, last sample %d s ago", f.feed(), max(0, int(s.at.Sub(newest).Seconds()))), "", ""})
	case len(quiet) == len(fed):
		all = append(all, Notice{critical, "fed", fmt.Sprintf("Samples of %s stopped arriving", machines(fed)), "Last sample: " + stamp(newest), ""})
	case len(quiet) > 0:
		all = append(all, Notice{warning, "fed", fmt.Sprintf("Samples of %s stopped arriving", machines(quiet)), "", ""})
	}
	if !f.opts.Rules().Builtin && len(s.machines) > 0 && f.opts.Query != nil {
		all = append(all, Notice{info, "rules-off", "Built-in rules are off: machines are not checked for problems", "Enable them with --rules.builtin=on", "/rules"})
	}
	if len(unlabelled) > 0 {
		all = append(all, Notice{info, "unlabelled", fmt.Sprintf("Built-in rules do not cover %s: the label \"machine\" is missing", machines(unlabelled)), relabelling, "/targets"})
	}
	return all
}

// feed is how the samples come that others take.
func (f *Fleet) feed() string {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for _, honors := range f.honoring {
		if honors {
			return "federation"
		}
	}
	return "remote write"
}

// Peer is another server of a cluster that differs from this one.
type Peer struct{ Differs, Detail string }

func (f *Fleet) peerNotices() []Notice {
	if f.opts.Peers == nil {
		return nil
	}
	var all []Notice
	for _, p := range f.opts.Peers() {
		all = append(all, Notice{warning, "peer", p.Differs, p.Detail, ""})
	}
	return all
}

// storageNotices are about samples that are lost, or may be.
func (s *snapshot) storageNotices() []Notice {
	var all []Notice
	x := s.storage
	if s.blind() {
		all = append(all, Notice{critical, "storage", "Samples are not stored: " + x.Reason, "Since " + stamp(x.Since) + ". The state of the machines is unknown until samples are stored again", ""})
	}
	if x.Unsafe {
		all = append(all, Notice{critical, "storage", "Do not restart: samples in memory are not safe yet", "A write to the WAL failed. Samples in memory are written to a block as soon as there is room. A restart before that loses them", ""})
	}
	if x.Damaged != "" {
		all = append(all, Notice{warning, "storage", "Damaged data was set aside: " + x.Damaged, x.DamageIs, ""})
	}
	return all
}

// receiverNotices are about what an agent cannot send.
func (f *Fleet) receiverNotices() []Notice {
	list, err := f.opts.Receivers()
	if err != nil {
		f.opts.Logger.Warn("Could not find out what is sent", "err", err)
		return nil
	}
	if len(list) == 0 {
		return []Notice{{critical, "agent", "Samples of this agent are not sent anywhere: no remote_write is configured", "Add remote_write to the configuration file", "/status/remote-write"}}
	}
	var all []Notice
	for _, r := range list {
		if !r.Failing {
			continue
		}
		n := Notice{warning, "agent", fmt.Sprintf("Remote write to %s is failing", r.URL), "Last sent: " + stamp(r.LastSent), "/status/remote-write"}
		if r.LastSent.IsZero() {
			n.Level, n.Text, n.Detail = critical, fmt.Sprintf("Remote write to %s has never succeeded", r.URL), ""
		}
		if r.Error != "" {
			n.Detail = r.Error
		}
		all = append(all, n)
	}
	return all
}

// invalid is how many entries of discovery cannot be used.
func invalid(n int) string {
	if n == 1 {
		return "1 invalid entry"
	}
	return fmt.Sprintf("%d invalid entries", n)
}

// machines are some names, or how many there are.
func machines(names []string) string {
	slices.Sort(names)
	if len(names) > 3 {
		return fmt.Sprintf("%d machines", len(names))
	}
	return strings.Join(names, ", ")
}
