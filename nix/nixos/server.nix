# services.clanmon.server: services.prometheus with clanmon as its program, and with
# what clanmon adds: discovery, notifications, TLS, the firewall, checks.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib)
    attrNames
    concatLists
    concatMap
    concatStringsSep
    elem
    filter
    filterAttrs
    mapAttrs
    mapAttrsToList
    mkIf
    mkOption
    optional
    optionals
    types
    ;
  clanmon = import ../lib.nix { inherit lib; };
  inherit (clanmon) vocabulary some;
  shared = (import ../options.nix { inherit lib; }).server;
  cfg = config.services.clanmon.server;
  prometheus = config.services.prometheus;
  where =
    if cfg.setBy == [ ] then
      "services.clanmon.server"
    else
      concatStringsSep " and " (lib.unique cfg.setBy);
  list = concatStringsSep ", ";
  json = name: v: pkgs.writeText name (builtins.toJSON v);
  credential = name: "/run/credentials/prometheus.service/${name}";

  # What is discovered.
  inventoryFile = if cfg.inventory != { } then "/etc/clanmon/inventory.json" else cfg.inventoryFile;
  inventory.machines = mapAttrs (
    _: m:
    m
    // {
      addresses = lib.unique m.addresses;
      tags = lib.unique m.tags;
    }
  ) cfg.inventory;
  methods =
    if !cfg.enableAutoDiscovery then
      [ ]
    else if cfg.discoveryMethod == null then
      optional (inventoryFile != null) "inventory"
    else
      filter (m: m != "none") (lib.toList cfg.discoveryMethod);
  on = method: elem method methods;
  knownPort = job: vocabulary.ports ? ${job};

  # The server's own metrics, where its pages are. The flag is for proxies that take
  # the path of the URL away.
  prefix =
    let
      path = builtins.match "[a-z]+://[^/]*(/.*)" (toString prometheus.webExternalUrl);
      flag = concatMap (
        f:
        let
          m = builtins.match "--web[.]route-prefix=(.*)" (clanmon.plainFlag f);
        in
        optionals (m != null) m
      ) prometheus.extraFlags;
      chosen = if flag != [ ] then [ (lib.last flag) ] else optionals (path != null) path;
    in
    lib.concatMapStrings (p: "/${p}") (filter (p: p != "") (concatMap (lib.splitString "/") chosen));
  selfJob = {
    job_name = "clanmon";
    metrics_path = "${prefix}/metrics";
    static_configs = [
      {
        targets = [ "localhost:${toString prometheus.port}" ];
        labels = {
          machine = cfg.machineName;
          instance = "${cfg.machineName}:${toString prometheus.port}";
        };
      }
    ];
  }
  // lib.optionalAttrs cfg.tls.pages {
    scheme = "https";
    tls_config = {
      ca_file = credential "tls-ca";
      server_name = cfg.tls.pagesName;
    };
  };
  jobs = configs: concatMap (c: optional (c ? job_name) c.job_name) configs;
  ownJobs = jobs (cfg.additionalScrapeConfigs ++ prometheus.scrapeConfigs);
  scrapesItself =
    cfg.scrapeSelf
    && (if cfg.tls.pages then cfg.tls.pagesName != null else prometheus.webConfigFile == null)
    # It has no token.
    && (cfg.identity.viewers == [ ] || elem "*" cfg.identity.viewers)
    && elem prometheus.listenAddress [
      "0.0.0.0"
      "::"
      "[::]"
      "127.0.0.1"
      "localhost"
    ]
    && !(elem "clanmon" ownJobs);
  discoveredJobs = clanmon.discoveredJobs cfg methods;

  # The file of --clan.settings.
  settings = {
    discoveryMethod = if methods == [ ] then "none" else methods;
  }
  // lib.optionalAttrs (on "dns") { dnsDiscovery = mapAttrs (_: some) cfg.dnsDiscovery; }
  // lib.optionalAttrs (on "static") { inherit (cfg) staticTargets; }
  // lib.optionalAttrs (on "inventory") { inherit inventoryFile; }
  // lib.optionalAttrs (on "tailscale") (some {
    tailscale = some cfg.tailscale;
  })
  // some {
    checks = mapAttrs (_: c: some (c // { expect = some c.expect; })) cfg.checks;
    notifications = some cfg.notifications;
    boards = map (b: "${b}") cfg.boards;
    additionalScrapeConfigs = cfg.additionalScrapeConfigs ++ optional scrapesItself selfJob;
  }
  // lib.optionalAttrs (cfg.tls.enable && methods != [ ]) {
    tls = some {
      inherit (cfg.tls) methods serverName;
      caFile = credential "tls-ca";
      certFile = credential "tls-cert";
      keyFile = credential "tls-key";
    };
  };

  # Boards as Grafana reads them.
  dashboards = pkgs.runCommand "clanmon-dashboards" { } ''
    mkdir "$out"
    ${lib.concatMapStrings (b: ''
      ${lib.getExe cfg.package} board export ${lib.escapeShellArg b} > "$out/$(basename ${lib.escapeShellArg b})"
    '') (map (b: "${b}") cfg.boards)}
  '';

  # Receivers, with the files that hold their secrets.
  secretParameter =
    url:
    {
      mailto = "password_file";
      discord = "url_file";
      msteams = "url_file";
      slack = "url_file";
      webhook = "url_file";
    }
    .${lib.head (lib.splitString ":" url)} or "token_file";
  withSecret =
    name: n:
    if n.secretFile == null then
      n.url
    else
      "${n.url}${
        if lib.hasInfix "?" n.url then "&" else "?"
      }${secretParameter n.url}=${credential "notify-${name}"}";
  receiverSecrets =
    concatLists (
      mapAttrsToList (
        name: n:
        optional (n.secretFile != null) {
          name = "notify-${name}";
          file = n.secretFile;
        }
      ) cfg.notify
    )
    ++ optional (cfg.heartbeat.secretFile != null) {
      name = "heartbeat";
      file = cfg.heartbeat.secretFile;
    };

  # Who asks. Secrets are passed as credentials.
  identityFlags =
    let
      i = cfg.identity;
      given = flag: value: optional (value != null) "--web.${flag}=${value}";
      all = flag: map (v: "--web.${flag}=${v}");
    in
    all "operator" i.operators
    ++ all "viewer" i.viewers
    ++ given "identity.header" i.header
    ++ given "identity.groups-header" i.groupsHeader
    ++ all "trusted-proxy" i.trustedProxies
    ++ optional (i.tokenFile != null) "--web.token-file=${toString i.tokenFile}"
    ++ optional (cfg.push.tokens != { }) "--web.token-file=/etc/clanmon/push-tokens"
    ++ given "oidc.issuer" i.oidc.issuer
    ++ given "oidc.client-id" i.oidc.clientId
    ++ optional (
      i.oidc.clientSecretFile != null
    ) "--web.oidc.client-secret-file=${credential "oidc-client-secret"}"
    ++ all "oidc.scope" i.oidc.scopes
    ++ given "oidc.name-claim" i.oidc.nameClaim;
  identitySecrets = optional (
    cfg.identity.oidc.clientSecretFile != null
  ) "oidc-client-secret:${toString cfg.identity.oidc.clientSecretFile}";
  querySecrets = optional (cfg.query.configFile != null) "query:${toString cfg.query.configFile}";

  checkedFlags =
    map (n: "--web.allowed-host=${n}") cfg.allowedHosts
    ++ optional cfg.look.enable "--look"
    ++ optional (
      cfg.backfill.enable != null
    ) "--backfill=${if cfg.backfill.enable then "on" else "off"}"
    ++ optional (cfg.backfill.maxAge != null) "--backfill.max-age=${cfg.backfill.maxAge}"
    ++ optional cfg.push.enable "--push"
    ++ optional (
      cfg.push.enable && cfg.push.availability != null
    ) "--push.availability=${cfg.push.availability}"
    ++ optional (
      cfg.push.enable && cfg.push.seriesLimit != null
    ) "--push.series-limit=${toString cfg.push.seriesLimit}"
    ++ optional (cfg.query.url != null) "--query.url=${cfg.query.url}"
    ++ optional (cfg.query.dialect != null) "--query.dialect=${cfg.query.dialect}"
    ++ optional (cfg.query.configFile != null) "--query.config-file=${credential "query"}"
    ++ identityFlags
    ++ map (u: "--jobs.backup-units=${u}") cfg.backupUnits
    ++ mapAttrsToList (name: n: "--notify=${withSecret name n}") cfg.notify
    ++ optional (
      cfg.heartbeat.secretFile != null
    ) "--notify.heartbeat-url-file=${credential "heartbeat"}"
    ++
      optional (cfg.builtinRules.enable != null)
        "--rules.builtin=${if cfg.builtinRules.enable then "on" else "off"}"
    ++ map (r: "--rules.disable=${r}") cfg.builtinRules.disable
    ++ concatLists (
      mapAttrsToList (
        rule:
        mapAttrsToList (
          # toString writes 0.05 as 0.050000.
          name: v:
          "--rules.set=${rule}.${name}=${if builtins.isFloat v then builtins.toJSON v else toString v}"
        )
      ) cfg.builtinRules.set
    )
    # NixOS 25.05 and older pass a feature flag that Prometheus 3 does not know.
    ++ optional (prometheus.enableAgentMode && lib.versionOlder lib.trivial.release "25.11") "--agent";
  alertmanagerFile = json "alertmanager.yml" cfg.alertmanagerConfig;
  pingFile = json "pings.json" {
    pings = mapAttrs (name: p: some p // { tokenFile = credential "ping-${name}"; }) cfg.pings;
  };
  flags = [
    "--clan.settings=/etc/clanmon/settings.json"
  ]
  ++ optional (cfg.alertmanagerConfig != null) "--alertmanager.config.file=${alertmanagerFile}"
  ++ optional (cfg.pings != { }) "--ping.file=${pingFile}"
  ++ checkedFlags;
  execFlags = map clanmon.execArg flags;

  secrets =
    cfg.pastedSecrets
    ++ clanmon.pastedSecrets "alertmanagerConfig" cfg.alertmanagerConfig
    ++ clanmon.pastedSecrets "additionalScrapeConfigs" cfg.additionalScrapeConfigs
    ++ concatLists (
      mapAttrsToList (
        name: n:
        optional (
          builtins.match ".*[?&](token|password)=.*" n.url != null
          || builtins.match "[a-z+]*://[^/]*@.*" n.url != null
          || builtins.match ".*hooks[.]slack[.]com/services/.*" n.url != null
          || builtins.match "(discord|msteams|pushover|telegram)://[^?]*/.+" n.url != null
        ) "notify.${name}.url"
      ) cfg.notify
    );
  secretProblem =
    p:
    clanmon.secretProblem where p (
      if lib.hasPrefix "notify." p then
        "leave it out and name its file by `secretFile`, or set `secret = true`, so that clan prompts for it"
      else
        "name a file by the key that ends in _file"
    );
  noTailscale = on "tailscale" && !config.services.tailscale.enable;

  problems =
    optional (noTailscale && !cfg.lenient)
      "discoveryMethod: \"tailscale\" needs tailscaled on this machine: set services.tailscale.enable = true, or choose another method"
    ++
      optional (on "inventory" && inventoryFile == null)
        "discoveryMethod: \"inventory\" needs machines with the role exporter (without clan: `inventory` or `inventoryFile`), and there are none"
    ++ map (
      name: "pings.${name}: tokenFile is missing: the path of a file with a token (openssl rand -hex 16)"
    ) (attrNames (filterAttrs (_: p: p.tokenFile == null) cfg.pings))
    ++ optional (
      on "dns" && cfg.dnsDiscovery == { }
    ) "discoveryMethod: \"dns\" needs names: dnsDiscovery.node.names = [ \"*.example.org\" ]"
    ++ optional (
      on "static" && cfg.staticTargets == { }
    ) "discoveryMethod: \"static\" needs machines: staticTargets.node = [ \"10.0.0.1\" ]"
    ++ concatLists (
      mapAttrsToList (
        job: targets:
        map
          (
            t:
            "staticTargets.${job}: the target \"${t}\" has no port, and the job \"${job}\" has no usual one: write \"${t}:PORT\", or use one of the jobs ${list (attrNames vocabulary.ports)}"
          )
          (
            filter (t: !(knownPort job) && builtins.match ".*[^:]:[0-9]+" t == null) (
              optionals (on "static") targets
            )
          )
      ) cfg.staticTargets
    )
    ++ concatLists (
      mapAttrsToList (
        job: d:
        optional (d.names == [ ]) "dnsDiscovery.${job}.names: name at least one DNS name"
        ++
          optional (d.port == null && !(knownPort job) && d.type != "SRV")
            "dnsDiscovery.${job}.port: the job \"${job}\" has no usual port: set it, or use one of the jobs ${list (attrNames vocabulary.ports)}"
      ) (lib.optionalAttrs (on "dns") cfg.dnsDiscovery)
    )
    ++ concatLists (
      lib.imap0 (
        i: c: optional (!(c ? job_name)) "additionalScrapeConfigs[${toString i}]: job_name is missing"
      ) cfg.additionalScrapeConfigs
    )
    ++ map (
      j: "additionalScrapeConfigs, scrapeConfigs: there are two jobs \"${j}\"; give each another job_name"
    ) (lib.unique (filter (j: lib.count (x: x == j) ownJobs > 1) ownJobs))
    ++ map (
      j:
      "additionalScrapeConfigs, scrapeConfigs: the discovery method ${list methods} makes a job \"${j}\" already; give yours another job_name"
    ) (filter (j: elem j discoveredJobs) (lib.unique ownJobs))
    ++ concatLists (
      mapAttrsToList (
        rule: changes:
        if !(vocabulary.rules ? ${rule}) then
          [
            "builtinRules.set: there is no rule \"${rule}\"; known are ${list (attrNames vocabulary.rules)}"
          ]
        else
          map (
            name:
            "builtinRules.set.${rule}.${name}: there is no such setting; known are ${list vocabulary.rules.${rule}}"
          ) (lib.subtractLists vocabulary.rules.${rule} (attrNames changes))
      ) cfg.builtinRules.set
    )
    ++ concatMap (
      name:
      optional (
        builtins.match "[A-Za-z0-9_-]+" name == null
      ) "notify.${name}: the name becomes that of a file; use letters, digits, '_' and '-' only"
      ++ optional (
        cfg.notify.${name}.secret && cfg.notify.${name}.secretFile == null
      ) "notify.${name}.secret: only clan can prompt for a secret; name its file by secretFile"
    ) (attrNames cfg.notify)
    ++
      optional (cfg.notifications.quiet != [ ] && cfg.alertmanagerConfig != null)
        "notifications.quiet: write time_intervals in alertmanagerConfig, and mute_time_intervals in its routes"
    ++ optional (
      cfg.heartbeat.secret && cfg.heartbeat.secretFile == null
    ) "heartbeat.secret: only clan can prompt for a secret; name its file by secretFile"
    ++ optional (
      prometheus.configText != null && methods != [ ] && !cfg.lenient
    ) "configText: it replaces the whole configuration; write what you need as scrapeConfigs and so on"
    ++
      optional
        (
          cfg.tls.enable
          && methods != [ ]
          &&
            lib.intersectLists methods (if cfg.tls.methods == [ ] then [ "inventory" ] else cfg.tls.methods)
            == [ ]
        )
        "tls.enable: no target of the method ${list methods} has certificates, so exporters that have them would be down: list the method in tls.methods, or add \"inventory\" to discoveryMethod"
    ++ map (
      m: "push.tokens.${m}: it must be the SHA-256 of the token, as 64 hexadecimal digits: printf %s TOKEN | sha256sum"
    ) (attrNames (filterAttrs (_: sum: builtins.match "[0-9a-fA-F]{64}" sum == null) cfg.push.tokens))
    ++ optional (cfg.push.tokens != { } && !cfg.push.enable) "push.tokens needs push.enable"
    ++ optional (cfg.tls.pages && !cfg.tls.enable) "tls.pages needs tls.enable"
    ++ optional (
      # Clan's files do not exist before `clan vars generate`.
      cfg.tls.enable
      && cfg.setBy == [ ]
      && (cfg.tls.caFile == null || cfg.tls.certFile == null || cfg.tls.keyFile == null)
    ) "tls.enable needs tls.caFile, tls.certFile and tls.keyFile"
    ++
      optional (lib.length (lib.unique cfg.setBy) > 1)
        "there is one services.prometheus on a machine; give the role to another machine in one of them, or merge the instances";

  file =
    description:
    mkOption {
      type = types.nullOr types.path;
      default = null;
      inherit description;
    };
  internal =
    type: default: description:
    mkOption {
      inherit type default description;
      internal = true;
    };
  strings =
    description:
    mkOption {
      type = types.listOf types.str;
      default = [ ];
      inherit description;
    };
in
{
  imports = [
    ./common.nix
  ]
  # Options of this module while it had a unit of its own.
  ++
    map
      (
        name:
        lib.mkRenamedOptionModule [ "services" "clanmon" "server" name ] [ "services" "prometheus" name ]
      )
      [
        "alertmanagers"
        "extraFlags"
        "globalConfig"
        "listenAddress"
        "port"
        "remoteRead"
        "remoteWrite"
        "retentionTime"
        "ruleFiles"
        "rules"
        "scrapeConfigs"
        "stateDir"
        "webExternalUrl"
      ];

  options.services.clanmon.server = shared // {
    enable = lib.mkEnableOption "clanmon's server, as the program of services.prometheus";
    package = mkOption {
      type = types.package;
      default = config.services.clanmon.package;
      defaultText = lib.literalExpression "config.services.clanmon.package";
      description = "The package to run.";
    };
    inventory = mkOption {
      default = { };
      description = "Machines of the method `inventory`. In a clan these are the machines with the role exporter.";
      type = types.attrsOf (
        types.submodule {
          options = {
            addresses = strings "Names or addresses of the machine. The first one that responds is scraped.";
            tags = strings "Tags of the machine in pages and alerts.";
            availability = mkOption {
              type = types.enum [
                "always"
                "intermittent"
              ];
              default = "always";
              description = "Whether the machine is always on.";
            };
            exporters = mkOption {
              type = types.attrsOf (types.nullOr types.port);
              default = { };
              example = {
                node = 9100;
              };
              description = "Exporters of the machine with their ports; `null` is the usual one.";
            };
          };
        }
      );
    };
    inventoryFile = file "File with such machines, instead of `inventory`; docs/discovery.md has its format.";
    allowedHosts = strings "Names under which browsers may reach the pages, in addition to addresses and this machine's name; see docs/security.md.";
    scrapeSelf = mkOption {
      type = types.bool;
      default = true;
      description = "Whether to scrape the server's own metrics, as the job `clanmon`.";
    };
    tls = shared.tls // {
      caFile = file "Certificates of the authorities that issued those of the exporters.";
      certFile = file "Certificate that the server shows to exporters.";
      keyFile = file "Its private key; only root has to be able to read it.";
      serverName = mkOption {
        type = types.nullOr types.str;
        default = null;
        description = "Name in the exporters' certificates, if that is not their address.";
      };
      pagesName = internal (types.nullOr types.str) null "Name in the server's own certificate.";
    };
    machineName = internal types.str config.networking.hostName "Name of this machine in metrics.";
    setBy =
      internal (types.listOf types.str) [ ]
        "Clan instances that set these options, for messages.";
    pastedSecrets =
      internal (types.listOf types.str) [ ]
        "Settings for services.prometheus that hold a secret in clear text.";
    lenient =
      internal types.bool false
        "Whether pasted secrets, and Tailscale discovery without Tailscale, are warnings only.";
  };

  config = mkIf cfg.enable {
    assertions = map (message: {
      assertion = false;
      inherit message;
    }) (map (p: "${where}: ${p}") problems ++ optionals (!cfg.lenient) (map secretProblem secrets));
    warnings =
      optionals cfg.lenient (map secretProblem secrets)
      ++
        optional (noTailscale && cfg.lenient)
          "${where}: discoveryMethod: \"tailscale\" needs tailscaled on this machine, so nothing is found: set services.tailscale.enable = true"
      ++
        concatMap
          (
            s:
            optional (
              s.given && cfg.enableAutoDiscovery && !(on s.method)
            ) "${where}: ${s.option} has no effect while discoveryMethod does not contain \"${s.method}\""
          )
          [
            {
              option = "dnsDiscovery";
              method = "dns";
              given = cfg.dnsDiscovery != { };
            }
            {
              option = "staticTargets";
              method = "static";
              given = cfg.staticTargets != { };
            }
            {
              option = "tailscale";
              method = "tailscale";
              given = some cfg.tailscale != { };
            }
          ];

    services.clanmon.ports = [
      {
        inherit where;
        what = "pages and API";
        inherit (prometheus) port;
        inherit (cfg) openFirewall interfaces;
      }
    ];

    services.prometheus = {
      enable = true;
      package = cfg.package.prometheus;
      extraFlags = execFlags;
      webConfigFile = mkIf cfg.tls.pages "/etc/clanmon/server-web.json";
      checkConfig = mkIf (!config.services.clanmon.checkConfig) (lib.mkDefault false);
    };
    services.grafana.provision = mkIf cfg.grafana.enable {
      enable = true;
      datasources.settings.datasources = [
        {
          name = "clanmon";
          uid = "clanmon";
          type = "prometheus";
          url = "${if cfg.tls.pages then "https" else "http"}://localhost:${toString prometheus.port}${prefix}";
          jsonData.timeInterval = "15s";
        }
      ];
      dashboards.settings.providers = optional (cfg.boards != [ ]) {
        name = "clanmon";
        options.path = "${dashboards}";
      };
    };
    environment.systemPackages = [ cfg.package ];
    environment.etc = {
      "clanmon/settings.json".text = builtins.toJSON settings;
      "clanmon/inventory.json" = mkIf (cfg.inventory != { } && on "inventory") {
        text = builtins.toJSON inventory;
      };
      "clanmon/push-tokens" = mkIf (cfg.push.tokens != { }) {
        text = lib.concatMapStrings (m: "${m} machine ${cfg.push.tokens.${m}}\n") (attrNames cfg.push.tokens);
      };
      "clanmon/server-web.json" = mkIf cfg.tls.pages {
        text = builtins.toJSON {
          tls_server_config = {
            cert_file = credential "tls-cert";
            key_file = credential "tls-key";
          };
        };
      };
    };

    systemd.services.prometheus = {
      documentation = [ "https://github.com/clanmon/clanmon" ];
      after = optional (on "tailscale") "tailscaled.service";
      # The server notices a new inventory by itself.
      reloadTriggers = [ (builtins.toJSON settings) ];
      serviceConfig = lib.mkMerge [
        ((import ./units.nix { inherit lib; }).server {
          # tailscaled says who asks, too.
          needsTailscale = on "tailscale" || config.services.tailscale.enable;
        })
        {
          # Evaluation cannot see the disk.
          ExecStartPre = [ "+${pkgs.runtimeShell} ${./check-history.sh} ${prometheus.stateDir}" ];
          ExecReload = mkIf (!prometheus.enableReload) "${lib.getExe' pkgs.coreutils "kill"} -HUP $MAINPID";
          LoadCredential =
            map (s: "${s.name}:${s.file}") receiverSecrets
            ++ identitySecrets
            ++ querySecrets
            ++ mapAttrsToList (name: p: "ping-${name}:${toString p.tokenFile}") cfg.pings
            ++ optionals cfg.tls.enable [
              "tls-ca:${cfg.tls.caFile}"
              "tls-cert:${cfg.tls.certFile}"
              "tls-key:${cfg.tls.keyFile}"
            ];
          # Without the file of a receiver the server starts nevertheless, with an empty
          # secret, and says so; without its certificates it does not.
          SetCredential = map (s: "${s.name}:\\n") receiverSecrets;
        }
        (mkIf (prometheus.port < 1024) { PrivateUsers = lib.mkForce false; })
      ];
    };

    system.checks = optional config.services.clanmon.checkConfig (
      let
        checkedSettings = json "clanmon-settings.json" (
          settings
          // lib.optionalAttrs (settings ? inventoryFile && cfg.inventory != { }) {
            inventoryFile = "${json "clanmon-inventory.json" inventory}";
          }
        );
        given = map clanmon.plainFlag (lib.subtractLists execFlags prometheus.extraFlags);
      in
      pkgs.runCommand "clanmon-server-checked" { } ''
        check() { ${lib.getExe cfg.package} check "$@"; }
        check settings --syntax-only ${checkedSettings}
        ${lib.optionalString (cfg.boards != [ ]) "check boards ${lib.escapeShellArgs (map (b: "${b}") cfg.boards)}"}
        check flags server -- ${lib.escapeShellArgs (checkedFlags ++ given)}
        ${lib.optionalString (
          cfg.alertmanagerConfig != null
        ) "check alertmanager --syntax-only ${alertmanagerFile}"}
        touch $out
      ''
    );
  };
}
