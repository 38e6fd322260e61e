package contract

import (
	"strings"

	"github.com/prometheus/common/model"
)

// Meta labels that all methods share. The server reads only these, so that it does not
// depend on any method. Methods also have labels of their own (__meta_<method>_*), for
// relabelling rules of users. All are optional but the first two.
const (
	// MetaMethod is the name of the method.
	MetaMethod = "__meta_clanmon_method"
	// MetaMachine becomes the label machine.
	MetaMachine = "__meta_clanmon_machine"
	// MetaFrom is where the target is written down or was found, for people: a
	// file, a flag, a socket, a DNS name.
	MetaFrom = "__meta_clanmon_from"
	// MetaID stays the same when the machine gets another name or address; the
	// name, if it is missing.
	MetaID = "__meta_clanmon_id"
	// MetaAddresses are all addresses of the machine, as List makes them, where
	// there are more than the one that is scraped.
	MetaAddresses = "__meta_clanmon_addresses"
	// MetaTags are the machine's tags, as List(Tags(…)) makes them.
	MetaTags = "__meta_clanmon_tags"
	// MetaOS is its operating system, as GOOS has it.
	MetaOS = "__meta_clanmon_os"
	// MetaSelf is "true" for the machine that the server runs on, "false" where the
	// method knows that it is another one.
	MetaSelf = "__meta_clanmon_self"
	// MetaAvailability is Always or Intermittent, if the method knows it.
	MetaAvailability = "__meta_clanmon_availability"
	// MetaAsk is "true" if it is not known that an exporter exists there: it becomes a
	// target after the first successful response.
	MetaAsk = "__meta_clanmon_ask"
	// MetaLeftOut is why a device is not a machine to be scraped; Assemble's rules
	// drop it.
	MetaLeftOut = "__meta_clanmon_left_out"

	// What the network of the machine says of it, see Device.
	MetaDevice    = "__meta_clanmon_device"
	MetaOnline    = "__meta_clanmon_online"
	MetaDirect    = "__meta_clanmon_direct"
	MetaRelay     = "__meta_clanmon_relay"
	MetaKeyExpiry = "__meta_clanmon_key_expiry"
	MetaLastSeen  = "__meta_clanmon_last_seen"
	MetaExpired   = "__meta_clanmon_expired"
)

// MethodLocal is the method of jobs that the server serves itself.
const MethodLocal = "local"

// Device is what an overlay network says of a machine that is a part of it. Online
// is what the network's coordination server believes, which can be a quarter of an
// hour old.
type Device struct {
	Name      string `json:"name"`
	Online    bool   `json:"online"`
	Direct    bool   `json:"direct"` // else by a relay, or not in use
	Relay     string `json:"relay,omitempty"`
	KeyExpiry string `json:"keyExpiry,omitempty"` // RFC 3339
	LastSeen  string `json:"lastSeen,omitempty"`  // RFC 3339
	Expired   bool   `json:"expired,omitempty"`
}

// Labels are d as meta labels.
func (d Device) Labels() model.LabelSet {
	return model.LabelSet{
		MetaDevice: model.LabelValue(d.Name), MetaOnline: Bool(d.Online), MetaDirect: Bool(d.Direct), MetaRelay: model.LabelValue(d.Relay),
		MetaKeyExpiry: model.LabelValue(d.KeyExpiry), MetaLastSeen: model.LabelValue(d.LastSeen), MetaExpired: Bool(d.Expired),
	}
}

// DeviceOf is the Device in the labels of a target, nil if they have none.
func DeviceOf(l model.LabelSet) *Device {
	if l[MetaDevice] == "" {
		return nil
	}
	return &Device{
		Name: string(l[MetaDevice]), Online: l[MetaOnline] == "true", Direct: l[MetaDirect] == "true", Relay: string(l[MetaRelay]),
		KeyExpiry: string(l[MetaKeyExpiry]), LastSeen: string(l[MetaLastSeen]), Expired: l[MetaExpired] == "true",
	}
}

// Bool is b as the value of a label.
func Bool(b bool) model.LabelValue {
	if b {
		return "true"
	}
	return "false"
}

// Values is the reverse of List.
func Values(list string) []string {
	if list = strings.Trim(list, ","); list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// Rules make the labels of the contract from the meta labels, behind the rules of
// the methods.
func Rules() []Relabel {
	return []Relabel{
		{SourceLabels: []string{MetaLeftOut}, Regex: ".+", Action: "drop"},
		Copy(MetaMachine, MachineLabel),
		Copy(MetaAvailability, AvailabilityLabel),
		Set(AvailabilityLabel, "^$", AvailabilityLabel, Always),
		Replace([]string{"instance", MachineLabel, "__address__"}, `;(.+);.*:(\d+)`, "instance", "$1:$2"),
	}
}
