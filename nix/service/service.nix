# The clan service: roles server and exporter. What they decide is in perMachine,
# because two instances on one machine share one exporter process, and because there
# is one services.prometheus.
{ older }:
{
  lib,
  config,
  ...
}:
let
  inherit (lib)
    attrNames
    attrValues
    concatLists
    concatMap
    filter
    filterAttrs
    mapAttrs
    mapAttrsToList
    optional
    optionals
    ;
  clanmon = import ../lib.nix { inherit lib; };
  interfaces = import ../options.nix { inherit lib older; };

  # Names in certificates beside those of machines. Servers ask for the one, because
  # discovery may know a machine by any address; exporters let in the other.
  exporterName = "exporter.clanmon.internal";
  serverName = "server.clanmon.internal";

  ca = {
    share = true;
    files."ca.key" = {
      secret = true;
      deploy = false;
    };
    files."ca.pem".secret = false;
    script = builtins.readFile ./ca.sh;
  };

  where = instance: role: machine: "clan instance '${instance}', role '${role}', machine '${machine}'";

  # The name of the pages, for transports and certificates that give names.
  endpoint =
    instance: servers: machine: domain:
    if attrNames servers == [ machine ] then "${instance}.${domain}" else "${instance}-${machine}.${domain}";

  # Settings of all instances, also of those that this machine has no part in.
  everyone = mapAttrs (
    _: instance:
    mapAttrs (_: role: mapAttrs (_: m: m.finalSettings.config) (role.machines or { })) instance.roles
  ) config.instances;
  serversOf = name: everyone.${name}.server or { };
  exportersOf = name: everyone.${name}.exporter or { };
  # Instances that have exporters only: their targets are for the servers of the others.
  headless = filter (name: serversOf name == { }) (attrNames everyone);

  # Whether the exporters of an instance speak TLS: its servers say.
  tlsOf =
    name:
    let
      said = concatMap (i: map (s: s.tls.enable) (attrValues (serversOf i))) (
        if serversOf name == { } then attrNames everyone else [ name ]
      );
    in
    {
      on = lib.any (v: v) said;
      mixed = lib.any (v: v) said && lib.any (v: !v) said;
    };

  sections =
    instance: machine: settings:
    clanmon.exporter.sections {
      where = where instance "exporter" machine;
      inherit settings;
      lenient = older;
    };
in
{
  _class = "clan.service";

  manifest = {
    name = if older then "prometheus" else "clanmon";
    description = "Monitoring: metrics of all machines, pages, alerts; a drop-in for Prometheus";
    readme = builtins.readFile ../README.md;
    categories = [
      "System"
      "Utility"
    ];
    exports.out = [ "endpoints" ];
    constraints.roles.exporter.minMachines = null;
  };

  roles.server = {
    description = "Finds the machines, stores their metrics, evaluates rules, tells people; its pages are on port 9090.";
    interface = interfaces.server;
    perInstance =
      {
        instanceName,
        machine,
        roles,
        meta,
        mkExports,
        ...
      }:
      {
        exports = mkExports {
          endpoints.hosts = [ (endpoint instanceName (roles.server.machines or { }) machine.name meta.domain) ];
        };
      };
  };

  roles.exporter = {
    description = "Exposes the metrics of a machine: the machine itself and its systemd units, nginx, PostgreSQL, Redis.";
    interface = interfaces.exporter;
    perInstance = _: { };
  };

  perMachine =
    { machine, meta, ... }:
    let
      name = machine.name;
      mine = role: filterAttrs (_: s: s != null) (mapAttrs (_: roles: roles.${role}.${name} or null) everyone);

      exporters = mapAttrs (i: sections i name) (mine "exporter");
      merged = clanmon.exporter.merge (mapAttrsToList (_: s: s.kinds) exporters);
      hasExporter = merged.kinds != { };
      exporterService = ''${lib.concatStringsSep " and " (map (i: where i "exporter" name) (attrNames exporters))} (module.name "${
        if older then "prometheus" else "clanmon"
      }")'';
      foreign = lib.foldl' (a: s: a // s.foreignFirewall) { } (attrValues exporters);
      foreignConfig = lib.foldl' lib.recursiveUpdate { } (mapAttrsToList (_: s: s.foreign) exporters);
      exporterTLS = mapAttrs (i: _: (tlsOf i).on) exporters;
      useTLS = lib.any (v: v) (attrValues exporterTLS);

      servers = mine "server";
      serverInstances = attrNames servers;
      hasServer = servers != { };
      instance = lib.head serverInstances;
      settings =
        let
          s = servers.${instance};
          # The older service scraped staticTargets whatever the method was.
          static = s // {
            enableAutoDiscovery = true;
            discoveryMethod = lib.unique (
              [ "static" ]
              ++ optionals (s.enableAutoDiscovery && s.discoveryMethod != null) (lib.toList s.discoveryMethod)
            );
          };
          t = if s.staticTargets != { } then static else s;
          # Its discovery had jobs of other names, so that those of ours were free.
          taken = clanmon.server.foundJobs {
            settings = t;
            methods = clanmon.server.methods t true;
          };
          rename =
            c:
            if lib.elem (c.job_name or null) taken then
              c
              // {
                job_name = "${c.job_name}-configured";
                relabel_configs = (c.relabel_configs or [ ]) ++ [
                  {
                    target_label = "job";
                    replacement = c.job_name;
                  }
                ];
              }
            else
              c;
        in
        if older then
          t
          // {
            additionalScrapeConfigs = map rename t.additionalScrapeConfigs;
          }
          // lib.optionalAttrs (t ? scrapeConfigs) { scrapeConfigs = map rename t.scrapeConfigs; }
        else
          s;
      here = where instance "server" name;

      # The exporters that this machine's server asks.
      entries = concatMap (
        i:
        mapAttrsToList (
          m: s:
          let
            inherit (sections i m s) kinds;
            # Where they listen, if not everywhere.
            addresses = filter (a: !(lib.elem a [ "" "0.0.0.0" "::" ])) (
              lib.unique (
                mapAttrsToList (_: k: lib.removePrefix "[" (lib.removeSuffix "]" (k.listenAddress or ""))) kinds
              )
            );
            remote = filter (a: !(lib.elem a [ "localhost" "::1" ] || lib.hasPrefix "127." a)) addresses;
          in
          {
            machine = m;
            inherit kinds;
            inherit (s) tags availability;
            host =
              if s.host != null then
                s.host
              else if m == name && remote == [ ] then
                "localhost"
              else if lib.length remote == 1 && lib.length addresses == 1 then
                lib.head remote
              else
                "${m}.${meta.domain}";
          }
        ) (exportersOf i)
      ) (lib.unique ([ instance ] ++ headless));
      hasExporters = entries != [ ];
      inventory = clanmon.server.inventory entries;
      methods = clanmon.server.methods settings hasExporters;

      nixosModule =
        {
          config,
          pkgs,
          ...
        }:
        let
          vpnInterfaces = clanmon.vpnInterfaces config;
          nftables = config.networking.nftables.enable or false;
          generators = config.clan.core.vars.generators;
          prometheus = config.services.prometheus;
          secret = g: generators."clanmon-${instance}-${g}".files.secret.path;
          credential = c: "/run/credentials/prometheus.service/${c}";

          judged = clanmon.server.problems {
            where = here;
            inherit settings methods hasExporters;
            otherJobs = map (c: c.job_name) prometheus.scrapeConfigs;
            has.tailscale = config.services.tailscale.enable or false;
            lenient = older;
          };
          free = removeAttrs settings clanmon.server.own;
          # Where the pages are on this machine; the flag is for proxies that take the
          # path of the URL away.
          prefix =
            let
              url = prometheus.webExternalUrl;
              path = builtins.match "[a-z]+://[^/]*(/.*)" (if url == null then "" else url);
              flag = lib.concatMap (
                f:
                let
                  m = builtins.match "--web[.]route-prefix=(.*)" (clanmon.plainFlag f);
                in
                if m == null then [ ] else m
              ) prometheus.extraFlags;
            in
            lib.concatMapStringsSep "" (p: "/${p}") (
              filter (p: p != "") (
                lib.splitString "/" (
                  if flag != [ ] then
                    lib.last flag
                  else if path != null then
                    lib.head path
                  else
                    ""
                )
              )
            );
          selfJob = {
            job_name = "clanmon";
            metrics_path = "${prefix}/metrics";
            static_configs = [
              {
                targets = [ "localhost:${toString prometheus.port}" ];
                labels = {
                  machine = name;
                  instance = "${name}:${toString prometheus.port}";
                };
              }
            ];
          }
          // lib.optionalAttrs settings.tls.pages {
            scheme = "https";
            tls_config = {
              ca_file = credential "tls-ca";
              server_name = serverName;
            };
          };
          scrapesItself =
            !older
            && (settings.tls.pages || prometheus.webConfigFile == null)
            && lib.elem prometheus.listenAddress [ "0.0.0.0" "::" "[::]" "127.0.0.1" "localhost" ]
            && !(lib.any (c: c.job_name or null == "clanmon") (
              settings.additionalScrapeConfigs ++ prometheus.scrapeConfigs
            ));
          settingsFile = clanmon.server.settingsFile {
            settings = settings // {
              additionalScrapeConfigs = settings.additionalScrapeConfigs ++ optional scrapesItself selfJob;
            };
            inherit methods;
            inventoryFile = "/etc/clanmon/inventory.json";
            tls =
              if settings.tls.enable then
                {
                  caFile = credential "tls-ca";
                  certFile = credential "tls-cert";
                  keyFile = credential "tls-key";
                  serverName = exporterName;
                }
              else
                null;
          };
          # Browsers may ask for these names, see docs/security.md.
          names = lib.unique (
            [
              name
              "${name}.${meta.domain}"
              (endpoint instance (serversOf instance) name meta.domain)
            ]
            ++ concatMap (e: optional (e.machine == name && e.host != "localhost") e.host) entries
          );
          flags =
            map (n: "--web.allowed-host=${n}") names
            ++ clanmon.server.flags { inherit settings credential; };
          credentials =
            clanmon.server.credentials {
              inherit settings;
              generated = secret;
            }
            ++ optionals settings.tls.enable [
              "tls-ca:${toString generators.clanmon-ca.files."ca.pem".path}"
              "tls-cert:${toString generators.clanmon-tls.files."cert.pem".path}"
              "tls-key:${toString generators.clanmon-tls.files."key.pem".path}"
            ];
          alertmanagerFile = pkgs.writeText "alertmanager.yml" (builtins.toJSON settings.alertmanagerConfig);

          opened = clanmon.openPort {
            where = here;
            inherit (settings) openFirewall interfaces;
            inherit vpnInterfaces;
            port = prometheus.port;
            what = "pages and API";
          };
          openedForeign = mapAttrsToList (
            type: s:
            clanmon.openPort {
              inherit (s) where openFirewall interfaces;
              inherit vpnInterfaces;
              port = prometheus.exporters.${type}.port;
              what = "exporter ${type}";
            }
          ) foreign;

          others =
            optional hasServer {
              where = here;
              inherit (prometheus) port;
              what = "pages and API";
            }
            ++ mapAttrsToList (type: s: {
              inherit (s) where;
              inherit (prometheus.exporters.${type}) port;
              what = "the exporter ${type}";
            }) foreign;

          serverFails = m: {
            assertion = false;
            message = m;
          };
        in
        {
          imports = [
            ../nixos/common.nix
            ../nixos/exporter.nix
          ]
          # What passes through says whose it is when NixOS does not know it.
          ++ optional hasServer {
            _file = here;
            config.services.prometheus = free;
          }
          ++ optional (foreign != { }) {
            _file = "machine '${name}', role 'exporter' of ${lib.concatStringsSep ", " (lib.unique (mapAttrsToList (_: s: s.where) foreign))}";
            config.services.prometheus.exporters = mapAttrs (_: s: { enable = true; } // s) foreignConfig;
          };

          # None of these conditions depends on the machine's configuration.
          config = lib.mkMerge (
            [
            {
              assertions = map serverFails (
                merged.problems
                ++ concatMap (s: s.problems) (attrValues exporters)
                # Those of our own exporters among themselves are told by their module.
                ++ clanmon.exporter.portProblems (
                  others
                  ++ mapAttrsToList (kind: s: {
                    inherit (s) where port;
                    what = "the exporter ${kind}";
                  }) (filterAttrs (_: s: lib.elem s.port (map (o: o.port) others)) merged.kinds)
                )
                ++ concatMap (
                  i:
                  optional (tlsOf i).mixed "clan instance '${i}', role 'server': tls.enable: it is true for some servers and false for others (${
                    lib.concatStringsSep ", " (
                      lib.unique (concatMap (s: attrNames (serversOf s)) (if serversOf i == { } then attrNames everyone else [ i ]))
                    )
                  }); an exporter speaks one of the two"
                ) (lib.unique (attrNames exporters ++ serverInstances))
                ++ optional (hasExporter && useTLS && lib.any (v: !v) (attrValues exporterTLS)) (
                  "machine '${name}', role 'exporter': tls.enable: the servers of some of the instances ${lib.concatStringsSep ", " (attrNames exporters)} have it and others do not; the machine has one exporter process, so set it for all or for none"
                )
              );
              warnings = concatMap (s: s.warnings) (attrValues exporters);
              services.clanmon.serverInstances = map (i: where i "server" name) serverInstances;
            }
            ]
            ++ optional hasExporter {
              services.clanmon.exporterServices = [ exporterService ];
              # The same service under its other name has its own; nixos/common.nix says so.
              services.clanmon.exporter = lib.mkIf (lib.head config.services.clanmon.exporterServices == exporterService) {
                enable = true;
                checked = true;
                # Without a word about node it would run.
                exporters = lib.genAttrs [ "node" "systemd" ] (_: { enable = false; }) // merged.kinds;
                tls = lib.mkIf useTLS {
                  caFile = toString generators.clanmon-ca.files."ca.pem".path;
                  certFile = toString generators.clanmon-tls.files."cert.pem".path;
                  keyFile = toString generators.clanmon-tls.files."key.pem".path;
                  allowedNames = [ serverName ];
                };
              };
            }
            ++ optional (foreign != { }) {
              networking.firewall = clanmon.firewall {
                inherit nftables;
                opened = openedForeign;
              };
              warnings = clanmon.closedWarnings config openedForeign;
            }
            ++ optional ((hasExporter && useTLS) || (hasServer && settings.tls.enable)) (
              let
                names = map (n: "DNS:${n}") (
                  [
                    name
                    "${name}.${meta.domain}"
                  ]
                  ++ optional hasExporter exporterName
                  ++ optional hasServer serverName
                  ++ optional (hasServer && settings.tls.pages) (
                    endpoint instance (serversOf instance) name meta.domain
                  )
                );
              in
              {
                clan.core.vars.generators.clanmon-ca = ca // {
                  runtimeInputs = [ pkgs.openssl ];
                };
                clan.core.vars.generators.clanmon-tls = {
                  dependencies = [ "clanmon-ca" ];
                  files."key.pem".secret = true;
                  files."cert.pem".secret = false;
                  runtimeInputs = [ pkgs.openssl ];
                  # Other names are another certificate.
                  validation.names = lib.concatStringsSep "," names;
                  script = ''
                    names=${lib.concatStringsSep "," names}
                    ${builtins.readFile ./certificate.sh}
                  '';
                };
              }
            )
            ++ optional hasServer {
              assertions = map serverFails (
                judged.problems
                ++ optional (settings.tls.pages && !settings.tls.enable) "${here}: tls.pages needs tls.enable"
              );
              warnings =
                judged.warnings
                ++ clanmon.closedWarnings config [ opened ]
                ++ optional (older && settings.openFirewall == true && settings.interfaces == [ ]) (
                  "${here}: port ${toString prometheus.port} is open on all interfaces, as the older service had it, and so are those of the exporters. "
                  + ''Set `interfaces = [ "tailscale0" ];` (or openFirewall = null for the VPN only) in both roles, or change module.name to "clanmon", which does the latter by itself and watches the clan's machines without more settings.''
                );

              services.prometheus = {
                enable = true;
                package = config.services.clanmon.package;
                webConfigFile = lib.mkIf settings.tls.pages "/etc/clanmon/server-web.json";
                extraFlags = map clanmon.execArg (
                  [ "--clan.settings=/etc/clanmon/settings.json" ]
                  ++ optional (settings.alertmanagerConfig != null) "--alertmanager.config.file=${alertmanagerFile}"
                  ++ flags
                );
              };

              environment.etc."clanmon/server-web.json" = lib.mkIf settings.tls.pages {
                text = builtins.toJSON {
                  tls_server_config = {
                    cert_file = credential "tls-cert";
                    key_file = credential "tls-key";
                  };
                };
              };
              environment.etc."clanmon/settings.json".text = builtins.toJSON settingsFile;
              environment.etc."clanmon/inventory.json" = lib.mkIf (lib.elem "inventory" methods) {
                text = builtins.toJSON inventory;
              };
              environment.systemPackages = [ config.services.clanmon.package.command ];

              systemd.services.prometheus = {
                after = optional (lib.elem "tailscale" methods) "tailscaled.service";
                # The inventory is not among them: the server reads it again by itself,
                # but for new jobs.
                restartTriggers = [
                  (builtins.toJSON settingsFile)
                  (lib.concatStringsSep " " credentials)
                  (builtins.toJSON (lib.unique (concatMap (m: attrNames m.exporters) (attrValues inventory.machines))))
                ];
                serviceConfig = lib.optionalAttrs (credentials != [ ]) { LoadCredential = credentials; };
              };

              networking.firewall = clanmon.firewall {
                inherit nftables;
                opened = [ opened ];
              };

              clan.core.vars.generators = lib.listToAttrs (
                map
                  (s: {
                    name = "clanmon-${instance}-${s.name}";
                    value = {
                      # Several servers tell the same people.
                      share = true;
                      files.secret = {
                        secret = true;
                        # systemd hands it over when the unit starts.
                        restartUnits = [ "prometheus.service" ];
                      };
                      prompts.secret = {
                        inherit (s) description;
                        type = "hidden";
                      };
                      script = ''tr -d '\n' < "$prompts/secret" > "$out/secret"'';
                    };
                  })
                  (
                    mapAttrsToList (n: v: {
                      name = "notify-${n}";
                      description = "Secret of ${v.url} (${clanmon.server.secretParameter v.url}), for clanmon's alerts";
                    }) (filterAttrs (_: n: n.secret && n.secretFile == null) settings.notify)
                    ++ optional (settings.heartbeat.secret && settings.heartbeat.secretFile == null) {
                      name = "heartbeat";
                      description = "Address of the dead man's switch, for clanmon's heartbeat";
                    }
                  )
              );

              clan.core.state.clanmon = {
                folders = [ "/var/lib/${prometheus.stateDir}" ];
                preRestoreScript = "systemctl stop prometheus.service";
                postRestoreScript = "systemctl start prometheus.service";
              };

              system.checks = [
                (import ../nixos/check.nix {
                  inherit lib pkgs;
                  flags =
                    flags ++ map clanmon.plainFlag (free.extraFlags or [ ]) ++ optional (prometheus.enableAgentMode or false) "--agent";
                  package = config.services.clanmon.package;
                  settings = settingsFile;
                  inventory = if lib.elem "inventory" methods then inventory else null;
                  alertmanagerFile = if settings.alertmanagerConfig == null then null else alertmanagerFile;
                })
              ];
            }
          );
        };
    in
    {
      inherit nixosModule;
      darwinModule = {
        warnings = [
          "clanmon: machine '${name}' runs macOS, where neither role runs; servers see it as down. Give the role to the tag \"nixos\" in place of \"all\"."
        ];
      };
    };
}
