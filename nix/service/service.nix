# The clan service: it maps the settings of its roles to services.clanmon.server,
# services.clanmon.exporter and services.prometheus. What the settings mean, and what
# is wrong with them, is those modules' business.
{
  name,
  # What another name of the service changes: modules of the interfaces, and per role
  # a function from where and settings to the settings and a NixOS module.
  interfaces ? {
    server = { };
    exporter = { };
  },
  translate ? lib: {
    server = _where: settings: {
      inherit settings;
      nixosModule = { };
    };
    exporter = _where: settings: {
      inherit settings;
      nixosModule = { };
    };
  },
}:
{
  lib,
  config,
  clanLib,
  directory,
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
    mkDefault
    mkIf
    mkOption
    optional
    optionals
    types
    ;
  clanmon = import ../lib.nix { inherit lib; };
  shared = import ../options.nix { inherit lib; };
  own = import ./options.nix { inherit lib; };
  translated = translate lib;

  # Names in certificates in addition to those of machines. Servers ask for the first,
  # because discovery may know a machine by any address; exporters admit the second.
  exporterName = "exporter.clanmon.internal";
  serverName = "server.clanmon.internal";

  where =
    instance: role: machine:
    "clan instance '${instance}', role '${role}', machine '${machine}'";
  # A definition that is reported under this name where something is wrong with it.
  definition = from: config: {
    _file = from;
    inherit config;
  };

  # The name of the pages, for networks and certificates that give names.
  endpoint =
    instance: servers: machine: domain:
    if attrNames servers == [ machine ] then
      "${instance}.${domain}"
    else
      "${instance}-${machine}.${domain}";

  urlOf =
    domain: name: s:
    "${if s.tls.pages then "https" else "http"}://${name}.${domain}:${toString (s.port or 9090)}";
  # Where the pages of an instance are; null if it has several servers, or none.
  serverURL =
    domain: servers:
    let
      all = mapAttrsToList (urlOf domain) servers;
    in
    if lib.length all == 1 then lib.head all else null;

  # Settings of all instances, also of those that this machine has no part in.
  everyone = mapAttrs (
    _: instance:
    mapAttrs (_: role: mapAttrs (_: m: m.finalSettings.config) (role.machines or { })) instance.roles
  ) config.instances;
  serversOf = instance: everyone.${instance}.server or { };
  exportersOf = instance: everyone.${instance}.exporter or { };
  # Instances that have exporters only: the servers of all others watch them.
  headless = filter (i: serversOf i == { }) (attrNames everyone);
  # The servers that scrape the exporters of an instance, with their settings.
  scrapers =
    instance:
    concatMap (
      i:
      mapAttrsToList (machine: settings: {
        where = where i "server" machine;
        inherit (settings) tls;
        url = domain: urlOf domain machine settings;
        pings = mapAttrs (name: p: p // { generator = "clanmon-${i}-ping-${name}"; }) (
          settings.pings or { }
        );
      }) (serversOf i)
    ) (if serversOf instance == { } then attrNames everyone else [ instance ]);

  # The token of a ping, on the servers and on the machine that pings.
  tokenGenerator = pkgs: {
    share = true;
    files.token.secret = true;
    runtimeInputs = [ pkgs.openssl ];
    script = ''
      openssl rand -hex 16 | tr -d '\n' > "$out/token"
    '';
  };

  # The machines that push to a server of an instance, with the SHA-256 of their tokens: null
  # before `clan vars generate`.
  pushers =
    instance:
    builtins.foldl' (
      all: i:
      all
      // mapAttrs (
        machine: _:
        clanLib.getPublicValue {
          flake = directory;
          inherit machine;
          generator = "clanmon-push";
          file = "sha256";
          default = null;
        }
      ) (filterAttrs (m: s: s.push.enable && kindsOf i m s != { }) (exportersOf i))
    ) { } (lib.unique ([ instance ] ++ headless));
  kindsOf = instance: machine: settings: sections (exporterSettings instance machine settings);

  # What a role has in addition to its own options.
  freeOf = options: settings: removeAttrs settings (attrNames options ++ [ "_module" ]);
  freeExporter = freeOf (shared.exporter // own.exporter);
  sections = settings: clanmon.sections settings (freeExporter settings);
  exporterSettings =
    instance: machine: settings:
    (translated.exporter (where instance "exporter" machine) settings).settings;

  # What the clan's networks call a machine, the preferred network first. Left out are
  # networks that need a proxy of their own, and values that do not exist before `clan
  # vars generate`. Addresses in the internet come last: ports are open on VPNs.
  peersIn =
    exports:
    let
      byMachine = lib.groupBy (s: s.machineName) (
        mapAttrsToList (key: e: clanLib.parseScope key // { export = e; }) exports
      );
      networkOf =
        s:
        lib.foldl' (a: n: if n.export.networking or null == null then a else n.export.networking) { } (
          filter (n: n.serviceName == s.serviceName && n.instanceName == s.instanceName) (byMachine."" or [ ])
        );
      proxied = s: builtins.match ".*[.](tor|.*iroh)" (networkOf s).module or "" != null;
      rank = s: if lib.hasSuffix "internet" s.serviceName then 0 else (networkOf s).priority or 1000;
      hosts =
        s:
        concatMap (
          h:
          let
            plain = builtins.tryEval (h.plain or null);
            value = if plain.success && plain.value != null then lib.trim plain.value else "";
          in
          optional (value != "") value
        ) (s.export.peer.hosts or [ ]);
    in
    machine:
    concatMap hosts (
      lib.sort (a: b: rank a > rank b) (
        filter (s: s.export.peer or null != null && !(proxied s)) (byMachine.${machine} or [ ])
      )
    );

  ca = {
    share = true;
    files."ca.key" = {
      secret = true;
      deploy = false;
    };
    files."ca.pem".secret = false;
    script = builtins.readFile ./ca.sh;
  };
in
{
  _class = "clan.service";

  manifest = {
    inherit name;
    description = "Monitoring: metrics of all machines, pages, alerts; a drop-in for Prometheus";
    readme = builtins.readFile ../README.md;
    categories = [
      "System"
      "Utility"
    ];
    exports.out = [ "endpoints" ];
    exports.inputs = [
      "networking"
      "peer"
    ];
  };

  roles.server = {
    description = "Discovers the machines, stores their metrics, evaluates rules, sends alerts. Pages are on port 9090.";
    interface = {
      imports = [ interfaces.server ];
      freeformType = types.attrsOf types.anything;
      options =
        shared.server
        // own.server
        // {
          tls = shared.server.tls // own.server.tls;
        };
    };
    perInstance =
      {
        instanceName,
        machine,
        roles,
        meta,
        settings,
        exports,
        mkExports,
        ...
      }:
      let
        here = where instanceName "server" machine.name;
        t = translated.server here settings;
        s = t.settings;
        pages = endpoint instanceName (roles.server.machines or { }) machine.name meta.domain;
        free = freeOf (shared.server // own.server) s;
        peers = peersIn exports;
        pushing = pushers instanceName;

        # The exporters that this server scrapes.
        entries = filter (e: e.kinds != { }) (
          concatMap (
            i:
            mapAttrsToList (
              m: given:
              let
                e = exporterSettings i m given;
                kinds = if e.push.enable && !e.push.keepPorts then { } else sections e;
                # Where they listen, if not everywhere.
                addresses = lib.unique (
                  mapAttrsToList (
                    _: k: lib.removePrefix "[" (lib.removeSuffix "]" (toString (k.listenAddress or "")))
                  ) kinds
                );
                bound = filter (
                  a:
                  !(lib.elem a [
                    ""
                    "0.0.0.0"
                    "::"
                  ])
                ) addresses;
                remote = filter (
                  a:
                  !(
                    lib.elem a [
                      "localhost"
                      "::1"
                    ]
                    || lib.hasPrefix "127." a
                  )
                ) bound;
              in
              {
                machine = m;
                where = where i "exporter" m;
                inherit kinds;
                definition.${m} = {
                  inherit (e) tags;
                  availability = mkIf (e.availability == "intermittent") "intermittent";
                  exporters = mapAttrs (
                    kind: k: if k ? port then k.port else mkDefault clanmon.vocabulary.ports.${kind}
                  ) kinds;
                  addresses =
                    if e.host != null then
                      [ e.host ]
                    else if m == machine.name && remote == [ ] then
                      [ "localhost" ]
                    else if lib.length remote == 1 && lib.length bound == 1 then
                      remote
                    else
                      peers m ++ [ "${m}.${meta.domain}" ];
                };
              }
            ) (exportersOf i)
          ) (lib.unique ([ instanceName ] ++ headless))
        );
      in
      {
        exports = mkExports { endpoints.hosts = [ pages ]; };

        nixosModule =
          { config, pkgs, ... }:
          let
            generators = config.clan.core.vars.generators;
            secretOf = g: generators."clanmon-${instanceName}-${g}".files.secret.path;
            made = filterAttrs (_: p: p.tokenFile == null) s.pings;
            tokenOf = n: generators."clanmon-${instanceName}-ping-${n}".files.token.path;
            prompted = n: n.secret && n.secretFile == null;
            withFile = g: n: n // lib.optionalAttrs (prompted n) { secretFile = secretOf g; };

            dir = "/var/lib/${config.services.prometheus.stateDir}";
            snapshot = "${dir}/backup";
          in
          {
            imports = [
              ../nixos/server.nix
              t.nixosModule
              (definition here {
                services.prometheus = free // lib.getAttrs own.lists s;
                services.clanmon.server =
                  clanmon.some (
                    lib.getAttrs (lib.subtractLists [
                      "builtinRules"
                      "heartbeat"
                      "notifications"
                      "identity"
                      "notify"
                      "pings"
                      "push"
                      "tailscale"
                      "tls"
                    ] (attrNames shared.server)) s
                  )
                  // {
                    builtinRules = clanmon.some s.builtinRules;
                    notifications = clanmon.some s.notifications;
                    identity = clanmon.some (s.identity // { oidc = clanmon.some s.identity.oidc; });
                    tailscale = clanmon.some s.tailscale;
                    push =
                      clanmon.some s.push
                      // lib.optionalAttrs (pushing != { }) {
                        enable = true;
                        tokens = filterAttrs (_: sum: sum != null) pushing // s.push.tokens;
                      };
                    tls = lib.getAttrs (attrNames shared.server.tls) s.tls;
                    notify = mapAttrs (n: v: clanmon.some (withFile "notify-${n}" v)) s.notify;
                    heartbeat = clanmon.some (withFile "heartbeat" s.heartbeat);
                    pings = mapAttrs (
                      n: p: clanmon.some (p // lib.optionalAttrs (p.tokenFile == null) { tokenFile = tokenOf n; })
                    ) s.pings;
                  };
              })
            ]
            ++ map (e: definition e.where { services.clanmon.server.inventory = e.definition; }) entries;
            config = {
              services.clanmon.server = {
                enable = true;
                setBy = [ here ];
                machineName = machine.name;
                pastedSecrets = concatLists (
                  mapAttrsToList clanmon.pastedSecrets (free // lib.getAttrs own.lists s)
                );
                allowedHosts = lib.unique (
                  [
                    machine.name
                    "${machine.name}.${meta.domain}"
                    pages
                  ]
                  ++ peers machine.name
                  ++ concatMap (
                    e:
                    optionals (e.machine == machine.name) (
                      filter (a: a != "localhost") e.definition.${e.machine}.addresses
                    )
                  ) entries
                );
              };

              warnings = map (
                m:
                "${here}: machine '${m}' pushes, and its token does not exist yet: run `clan vars generate ${m}` and deploy this machine again"
              ) (attrNames (filterAttrs (_: sum: sum == null) pushing));

              environment.etc = lib.mapAttrs' (n: _: {
                name = "clanmon/ping/${n}";
                value.source = tokenOf n;
              }) (filterAttrs (_: p: p.machine == machine.name) made);

              clan.core.vars.generators =
                lib.mapAttrs' (n: _: {
                  name = "clanmon-${instanceName}-ping-${n}";
                  value = lib.recursiveUpdate (tokenGenerator pkgs) {
                    files.token.restartUnits = [ "prometheus.service" ];
                  };
                }) made
                // lib.listToAttrs (
                  map
                    (g: {
                      name = "clanmon-${instanceName}-${g.name}";
                      value = {
                        # Several servers have the same receivers.
                        share = true;
                        files.secret = {
                          secret = true;
                          # systemd reads it when the unit starts.
                          restartUnits = [ "prometheus.service" ];
                        };
                        prompts.secret = {
                          inherit (g) description;
                          type = "hidden";
                        };
                        script = ''
                          ${g.check or ""}tr -d '\n' < "$prompts/secret" > "$out/secret"
                        '';
                      };
                    })
                    (
                      mapAttrsToList (n: v: {
                        name = "notify-${n}";
                        description = "Secret of ${v.url}, for clanmon's alerts";
                      }) (filterAttrs (_: prompted) s.notify)
                      ++ optional (prompted s.heartbeat) {
                        name = "heartbeat";
                        description = "URL of the dead man's switch, for clanmon's heartbeat";
                        check = ''
                          grep -q '^https\?://[^/]' "$prompts/secret" || { echo 'the heartbeat needs a URL, https://…' >&2; exit 1; }
                        '';
                      }
                    )
                );

              clan.core.state = mkIf (s.backup != "none") {
                clanmon = {
                  folders = [ snapshot ];
                  preBackupScript = ''
                    rm -rf ${snapshot}
                    ${lib.getExe config.services.clanmon.server.package} snapshot --storage.tsdb.path=${dir}/data ${
                      lib.optionalString (s.backup == "state") "--only-state "
                    }${snapshot}
                  '';
                  postBackupScript = "rm -rf ${snapshot}";
                  preRestoreScript = "systemctl stop prometheus.service";
                  # A backup without metrics leaves those of the machine.
                  postRestoreScript = ''
                    if [ -d ${snapshot} ]; then
                      mkdir -p ${dir}/data
                      set -- ${snapshot}/*/meta.json ${snapshot}/wal
                      if [ -e "$1" ] || [ -e "$2" ]; then
                        rm -rf ${dir}/data-before-restore
                        mv ${dir}/data ${dir}/data-before-restore
                        mv ${snapshot} ${dir}/data
                      else
                        cp -a ${snapshot}/. ${dir}/data/
                        rm -rf ${snapshot}
                      fi
                      chown -R prometheus:prometheus ${dir}
                    fi
                    systemctl start prometheus.service
                  '';
                };
              };
            };
          };
      };
  };

  roles.exporter = {
    description = "Exposes the metrics of a machine: the machine itself and its systemd units, nginx, PostgreSQL, Redis.";
    interface = {
      imports = [ interfaces.exporter ];
      freeformType = types.attrsOf types.anything;
      options = shared.exporter // own.exporter;
    };
    perInstance =
      {
        instanceName,
        machine,
        meta,
        settings,
        ...
      }:
      let
        here = where instanceName "exporter" machine.name;
        t = translated.exporter here settings;
        s = t.settings;
        kinds = sections s;
        # Tokens of the jobs of this machine, unless it is the server and has them already.
        pings = builtins.foldl' (
          all: server:
          all // filterAttrs (_: p: p.machine == machine.name && p.tokenFile == null) server.pings
        ) { } (optionals (!builtins.hasAttr machine.name (serversOf instanceName)) (scrapers instanceName));
        onlyOn = filterAttrs (kind: _: kinds ? ${kind});
      in
      {
        nixosModule =
          { config, pkgs, ... }:
          let
            exporters = config.services.clanmon.exporter.exporters;
          in
          {
            imports = [
              ../nixos/exporter.nix
              t.nixosModule
            ]
            ++ optionals (kinds != { }) (
              map (d: definition here { services.clanmon.exporter.exporters = d; }) (
                map onlyOn (clanmon.typedSections s (freeExporter s))
                ++ [
                  (onlyOn (mapAttrs (_: clanmon.some) (clanmon.some s.exporters)))
                  (mapAttrs (_: _: { enable = true; }) kinds)
                ]
              )
              # One process has one protocol: whoever contradicts is named.
              ++ map (
                server: definition server.where { services.clanmon.exporter.tls.enable = server.tls.enable; }
              ) (scrapers instanceName)
            );
            config = mkIf (kinds != { }) {
              environment.etc = lib.mapAttrs' (n: p: {
                name = "clanmon/ping/${n}";
                value.source = config.clan.core.vars.generators.${p.generator}.files.token.path;
              }) pings;
              clan.core.vars.generators = lib.mapAttrs' (_: p: {
                name = p.generator;
                value = tokenGenerator pkgs;
              }) pings;
              services.clanmon.exporter = {
                enable = true;
                setBy = [ here ];
                exporters.node.enable = mkDefault false;
                look = mkIf s.look.enable (clanmon.some s.look);
                history = {
                  enable = mkDefault true;
                }
                // clanmon.some s.history;
                machineName = machine.name;
                push = mkIf s.push.enable {
                  servers =
                    if s.push.servers != [ ] then
                      s.push.servers
                    else
                      map (server: server.url meta.domain) (scrapers instanceName);
                  tokenFile = config.clan.core.vars.generators.clanmon-push.files.token.path;
                  # The clan's own certificates are of the names in the clan's domain.
                  caFile = mkIf (
                    s.push.servers == [ ] && lib.any (server: server.tls.pages) (scrapers instanceName)
                  ) config.services.clanmon.exporter.tls.caFile;
                  keepPorts = s.push.keepPorts;
                };
                noteDeploys = mkIf s.noteDeploys.enable (
                  { server = mkDefault (serverURL meta.domain (serversOf instanceName)); }
                  // clanmon.some s.noteDeploys
                );
              };
              # Each instance opens what it wants; a port is open wherever one of them wants it.
              services.clanmon.ports = optionals (!s.push.enable || s.push.keepPorts) (
                mapAttrsToList (kind: k: {
                  where = here;
                  what = "the exporter ${kind}";
                  port =
                    if exporters.${kind}.port == null then clanmon.vocabulary.ports.${kind} else exporters.${kind}.port;
                  openFirewall = if k.openFirewall or null == null then s.openFirewall else k.openFirewall;
                  interfaces = if k.interfaces or [ ] == [ ] then s.interfaces else k.interfaces;
                }) kinds
              );
              warnings = optional (scrapers instanceName == [ ] && s.push.servers == [ ]) (
                "${here}: no instance has a machine with the role server, so nobody scrapes this machine"
              );
            };
          };
        darwinModule.warnings = optional (kinds != { }) (
          "${here}: macOS has no exporter, so servers see this machine as down. Give the role to the tag \"nixos\" instead of \"all\", or set `exporters.node.enable = false;` for this machine."
        );
      };
  };

  # Certificates are per machine, whatever instances and roles it has.
  perMachine =
    { machine, meta, ... }:
    let
      mine =
        role:
        filterAttrs (_: s: s != null) (mapAttrs (_: roles: roles.${role}.${machine.name} or null) everyone);
      servers = filterAttrs (_: s: s.tls.enable) (mine "server");
      exporters = filterAttrs (i: _: lib.any (s: s.tls.enable) (scrapers i)) (mine "exporter");
      pushes = lib.any (s: s.push.enable) (attrValues (mine "exporter"));
      authorities = lib.unique (
        map (s: s.tls.authorities) (attrValues servers ++ concatMap scrapers (attrNames exporters))
      );
      trusted = lib.head authorities;
      issuer = "clanmon-${lib.head trusted}";

      # Names of the pages.
      pageNames = concatLists (
        mapAttrsToList (
          i: s:
          optionals s.tls.pages (
            [ (endpoint i (serversOf i) machine.name meta.domain) ]
            ++ concatLists (
              optional (s.webExternalUrl or null != null) (
                let
                  host = builtins.match "[a-z]+://\\[?([^]/:]*|[0-9a-fA-F:]*)]?(:[0-9]+)?(/.*)?" s.webExternalUrl;
                in
                optional (host != null) (lib.head host)
              )
            )
          )
        ) servers
      );
      isAddress = n: builtins.match "[0-9.]+|.*:.*" n != null;
      names = map (n: "${if isAddress n then "IP" else "DNS"}:${n}") (
        lib.unique (
          [
            machine.name
            "${machine.name}.${meta.domain}"
          ]
          ++ optional (exporters != { }) exporterName
          ++ optional (servers != { }) serverName
          ++ pageNames
        )
      );
    in
    {
      nixosModule =
        { config, pkgs, ... }:
        let
          generators = config.clan.core.vars.generators;
          caFiles = map (a: generators."clanmon-${a}".files."ca.pem".path) trusted;
          files = {
            caFile =
              if lib.length trusted == 1 then
                lib.head caFiles
              else
                "${pkgs.concatText "clanmon-authorities.pem" caFiles}";
            certFile = generators.clanmon-tls.files."cert.pem".path;
            keyFile = generators.clanmon-tls.files."key.pem".path;
          };
        in
        {
          imports =
            optional (mine "server" != { }) ../nixos/server.nix
            ++ optional (mine "exporter" != { }) ../nixos/exporter.nix
            ++ optional pushes {
              clan.core.vars.generators.clanmon-push = {
                files.token = {
                  secret = true;
                  # systemd reads it when the unit starts.
                  restartUnits = [ "clanmon-exporter.service" ];
                };
                # What servers know of it.
                files.sha256.secret = false;
                runtimeInputs = [ pkgs.openssl ];
                script = builtins.readFile ./push-token.sh;
              };
            };
          config = mkIf (authorities != [ ]) (
            {
              assertions = [
                {
                  assertion = lib.length authorities == 1;
                  message = "${name}: tls.authorities differs between the servers that scrape machine '${machine.name}'; set it on the role and not on machines";
                }
              ];
              clan.core.vars.generators = {
                clanmon-tls = {
                  dependencies = [ issuer ];
                  files."key.pem".secret = true;
                  files."cert.pem".secret = false;
                  runtimeInputs = [ pkgs.openssl ];
                  # Other names, or another authority, are another certificate.
                  validation.names = lib.concatStringsSep "," names;
                  validation.issuer = issuer;
                  script = ''
                    names=${lib.concatStringsSep "," names}
                    ca=$in/${issuer}
                    ${builtins.readFile ./certificate.sh}
                  '';
                };
              }
              // lib.listToAttrs (
                map (a: {
                  name = "clanmon-${a}";
                  value = ca // {
                    runtimeInputs = [ pkgs.openssl ];
                  };
                }) trusted
              );
            }
            // {
              services.clanmon =
                lib.optionalAttrs (servers != { }) {
                  server.tls = files // {
                    serverName = exporterName;
                    pagesName = serverName;
                  };
                }
                // lib.optionalAttrs (exporters != { }) {
                  exporter.tls = files // {
                    allowedNames = [ serverName ];
                  };
                };
            }
          );
        };
    };
}
