package discovery

import (
	"reflect"
	"slices"

	"github.com/prometheus/common/model"
)

// Server are the sections of the settings that say how the server itself runs. The rooms
// that use them check what they contain.
type Server struct {
	Identity Identity
	Look     bool // operators may look at machines
	// Pings and RemoteWrite are as they are written, YAML with the keys pings and
	// remote_write; empty without any.
	Pings, RemoteWrite []byte
	ExternalLabels     map[string]string
	Push               Push
	Backfill           Backfill
	Query              Query
}

// Push says whether machines may send samples, in the words of the flags --push.….
type Push struct {
	Enable       bool   `yaml:"enable"`
	Availability string `yaml:"availability"`
	SeriesLimit  *uint  `yaml:"seriesLimit"`
}

// Backfill says whether gaps are filled, in the words of the flags --backfill.….
type Backfill struct {
	Enable *bool           `yaml:"enable"`
	MaxAge *model.Duration `yaml:"maxAge"`
}

// Query says where older samples are, in the words of the flags --query.….
type Query struct {
	URL        string `yaml:"url"`
	Dialect    string `yaml:"dialect"`
	ConfigFile string `yaml:"configFile"`
}

// AtStart are the names of the sections that are read at the start only.
const AtStart = "identity, look, push, backfill and query"

// EqualAtStart reports whether both say the same in these sections.
func (s Server) EqualAtStart(o Server) bool {
	return s.Identity.Equal(o.Identity) && s.Look == o.Look && s.Query == o.Query &&
		reflect.DeepEqual(s.Push, o.Push) && reflect.DeepEqual(s.Backfill, o.Backfill)
}

// Identity says who may do what, in the words of the flags --web.….
type Identity struct {
	Operators      []string `yaml:"operators"`
	Viewers        []string `yaml:"viewers"`
	Header         string   `yaml:"header"`
	GroupsHeader   string   `yaml:"groupsHeader"`
	TrustedProxies []string `yaml:"trustedProxies"`
	TokenFile      string   `yaml:"tokenFile"`
	OIDC           OIDC     `yaml:"oidc"`
}

// OIDC is how people log in.
type OIDC struct {
	Issuer           string   `yaml:"issuer"`
	ClientID         string   `yaml:"clientId"`
	ClientSecretFile string   `yaml:"clientSecretFile"`
	Scopes           []string `yaml:"scopes"`
	NameClaim        string   `yaml:"nameClaim"`
}

// Equal reports whether both say the same.
func (i Identity) Equal(j Identity) bool {
	return slices.Equal(i.Operators, j.Operators) && slices.Equal(i.Viewers, j.Viewers) && i.Header == j.Header &&
		i.GroupsHeader == j.GroupsHeader && slices.Equal(i.TrustedProxies, j.TrustedProxies) && i.TokenFile == j.TokenFile &&
		i.OIDC.Issuer == j.OIDC.Issuer && i.OIDC.ClientID == j.OIDC.ClientID && i.OIDC.ClientSecretFile == j.OIDC.ClientSecretFile &&
		slices.Equal(i.OIDC.Scopes, j.OIDC.Scopes) && i.OIDC.NameClaim == j.OIDC.NameClaim
}
