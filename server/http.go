package server

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/http"

	upstreamconfig "github.com/prometheus/prometheus/config"
	upstreamweb "github.com/prometheus/prometheus/web"

	"github.com/clanmon/clanmon/discovery"
	"github.com/clanmon/clanmon/server/identity"
	"github.com/clanmon/clanmon/server/jobs"
	"github.com/clanmon/clanmon/web"
)

// webOptions are the settings of upstream's API. Its managers are missing.
func (o *Options) webOptions(cfg *upstreamconfig.Config) upstreamweb.Options {
	w := o.Web
	w.IsAgent, w.AppName = o.Agent, "Prometheus Server"
	if o.Agent {
		w.AppName = "Prometheus Agent"
	}
	w.Registerer, w.Gatherer = o.Registerer, o.Gatherer
	w.TSDBDir, w.LookbackDelta, w.QueryTimeout = o.Dir, o.Query.Lookback, o.Query.Timeout
	keep := cfg.StorageConfig.TSDBConfig.Retention
	w.TSDBRetentionDuration, w.TSDBMaxBytes, w.TSDBMaxPercentage = keep.Time, keep.Size, keep.Percentage
	return w
}

// pages serves the UI; paths are those of its pages.
func (o *Options) pages() (ui http.Handler, paths []string) {
	page := web.Options{PathPrefix: o.Web.ExternalURL.Path, PageTitle: o.Web.PageTitle, Version: o.ClanmonVersion, Agent: o.Agent}
	if o.DevProxy != nil {
		o.Logger.Warn("Pages are served by a development server, without a Content-Security-Policy", "url", o.DevProxy.Redacted())
		return web.DevHandler(o.DevProxy, page), web.DevPaths(o.Agent)
	}
	return web.Handler(page), web.Paths(o.Agent)
}

// identity has what identity needs beside its own settings. A flag takes precedence over the
// same setting of the file of --clan.settings.
func (o *Options) identity(w upstreamweb.Options, file discovery.Identity) identity.Options {
	i := o.Identity
	for _, list := range []struct{ flag, file *[]string }{
		{&i.Operators, &file.Operators},
		{&i.Viewers, &file.Viewers},
		{&i.TrustedProxies, &file.TrustedProxies},
		{&i.OIDC.Scopes, &file.OIDC.Scopes},
	} {
		if len(*list.flag) == 0 {
			*list.flag = *list.file
		}
	}
	i.Header, i.GroupsHeader = cmp.Or(i.Header, file.Header), cmp.Or(i.GroupsHeader, file.GroupsHeader)
	if len(i.TokenFiles) == 0 && file.TokenFile != "" {
		i.TokenFiles = []string{file.TokenFile}
	}
	i.OIDC.Issuer, i.OIDC.ClientID = cmp.Or(i.OIDC.Issuer, file.OIDC.Issuer), cmp.Or(i.OIDC.ClientID, file.OIDC.ClientID)
	i.OIDC.ClientSecretFile = cmp.Or(i.OIDC.ClientSecretFile, file.OIDC.ClientSecretFile)
	i.OIDC.NameClaim = cmp.Or(i.OIDC.NameClaim, file.OIDC.NameClaim)
	i.WebConfigFile, i.TailscaleSocket, i.Dir = o.WebConfigFile, o.Discovery.TailscaleSocket, o.Dir
	i.ExternalURL, i.RoutePrefix = w.ExternalURL, w.RoutePrefix
	i.Registerer, i.Logger = o.Registerer, o.Logger.With("component", "identity")
	return i
}

// identities are who there may be. A mistake may be in the flags or in the settings.
func (b *builder) identities(w upstreamweb.Options) (*identity.Identity, error) {
	o := &b.opts
	i, err := identity.New(o.identity(w, b.started.Identity))
	if err != nil {
		return nil, &ConfigError{Err: inSettings(err, o.Discovery.SettingsFile, b.started.Identity)}
	}
	if o.Look && !i.Configured() {
		o.Logger.Warn("--look has no effect until it is known who asks: name operators with --web.operator, or set passwords or client certificates in --web.config.file")
	}
	return i, nil
}

// inSettings adds to an error that names a flag where the value may have come from.
func inSettings(err error, file string, said discovery.Identity) error {
	if err == nil || said.Equal(discovery.Identity{}) {
		return err
	}
	return fmt.Errorf("%w (flag, or section identity of --clan.settings %q)", err, file)
}

// CheckSettings looks for what a server would refuse of a file of --clan.settings, apart from
// what its configuration refuses. If syntaxOnly it reads no file that the settings name.
func CheckSettings(file string, syntaxOnly bool) error {
	settings, err := discovery.ReadFlags(discovery.Flags{SettingsFile: file})
	if err != nil {
		return err
	}
	o := Options{Logger: slog.New(slog.DiscardHandler)}
	i := o.identity(upstreamweb.Options{}, settings.Server.Identity)
	if err = i.Check(); err == nil && !syntaxOnly {
		err = i.CheckFiles()
	}
	if err == nil {
		o.Discovery.SettingsFile = file
		if err := o.fromSettings(settings.Server); err != nil {
			return err
		}
		if !syntaxOnly {
			if err := o.Query.History.Check(); err != nil {
				return fmt.Errorf("query.configFile: %w", err)
			}
		}
	}
	if err == nil {
		err = jobs.PingSource{Section: settings.Server.Pings, Where: file}.Check(syntaxOnly)
	}
	return inSettings(err, file, settings.Server.Identity)
}
