# services.clanmon.server: clanmon's server in a hardened unit of its own. Those who
# have services.prometheus already can set its package instead; the clan service
# does that.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkIf mkOption types;
  clanmon = import ../lib.nix { inherit lib; };
  cfg = config.services.clanmon.server;
  where = "services.clanmon.server";
  user = "clanmon";
  credential = name: "/run/credentials/clanmon-server.service/${name}";

  methods = clanmon.server.methods cfg (cfg.inventoryFile != null);
  judged = clanmon.server.problems {
    inherit where methods;
    settings = cfg;
    hasExporters = cfg.inventoryFile != null;
    otherJobs = lib.concatMap (c: lib.optional (c ? job_name) c.job_name) cfg.scrapeConfigs;
    has.tailscale = config.services.tailscale.enable or false;
  };
  settings = clanmon.server.settingsFile {
    settings = cfg;
    inherit methods;
    inherit (cfg) inventoryFile;
    tls =
      if cfg.tls.enable then
        {
          caFile = credential "tls-ca";
          certFile = credential "tls-cert";
          keyFile = credential "tls-key";
        }
        // lib.optionalAttrs (cfg.tls.serverName != null) { inherit (cfg.tls) serverName; }
      else
        null;
  };

  some = lib.filterAttrs (_: v: v != { } && v != [ ]);
  ruleFiles =
    cfg.ruleFiles
    ++ lib.optional (cfg.rules != [ ]) (
      pkgs.writeText "clanmon.rules" (lib.concatStringsSep "\n" cfg.rules)
    );
  configuration = some {
    global = cfg.globalConfig;
    rule_files = map toString ruleFiles;
    scrape_configs = cfg.scrapeConfigs;
    remote_write = cfg.remoteWrite;
    remote_read = cfg.remoteRead;
    alerting = some { alertmanagers = cfg.alertmanagers; };
  };
  json = name: v: pkgs.writeText name (builtins.toJSON v);
  # JSON is YAML.
  configFile = json "prometheus.yml" configuration;
  alertmanagerFile = json "alertmanager.yml" cfg.alertmanagerConfig;

  opened = clanmon.openPort {
    inherit where;
    inherit (cfg) openFirewall interfaces port;
    what = "pages and API";
    vpnInterfaces = clanmon.vpnInterfaces config;
  };
  bracketed = if lib.hasInfix ":" cfg.listenAddress then "[${cfg.listenAddress}]" else cfg.listenAddress;

  webConfig = builtins.toJSON {
    tls_server_config = {
      cert_file = credential "tls-cert";
      key_file = credential "tls-key";
    };
  };

  # What can be checked without the machine's secrets.
  flags =
    lib.optional (cfg.retentionTime != null) "--storage.tsdb.retention.time=${cfg.retentionTime}"
    ++ lib.optional (cfg.webExternalUrl != null) "--web.external-url=${cfg.webExternalUrl}"
    ++ clanmon.server.flags {
      settings = cfg;
      inherit credential;
    }
    ++ cfg.extraFlags;
  list = what: mkOption {
    type = types.listOf types.anything;
    default = [ ];
    description = "Entries of `${what}` in Prometheus' configuration file.";
  };
in
{
  imports = [ ./common.nix ];

  options.services.clanmon.server = mkOption {
    default = { };
    description = "The server of clanmon.";
    type = types.submodule {
      # Not free-form: here nobody would take what is not declared.
      options = (import ../options.nix { inherit lib; }).server.options // {
        enable = mkOption {
          type = types.bool;
          default = false;
          description = "Whether to run `clanmon server`.";
        };
        package = mkOption {
          type = types.package;
          default = config.services.clanmon.package;
          defaultText = lib.literalExpression "config.services.clanmon.package";
          description = "The package to run.";
        };
        port = mkOption {
          type = types.port;
          default = 9090;
          description = "Port of pages and API.";
        };
        listenAddress = mkOption {
          type = types.str;
          default = "0.0.0.0";
          description = "Address of pages and API.";
        };
        stateDir = mkOption {
          type = types.str;
          default = "clanmon";
          description = "Directory below /var/lib.";
        };
        retentionTime = mkOption {
          type = types.nullOr types.str;
          default = null;
          example = "30d";
          description = "How long samples are kept; 15d if `null`.";
        };
        webExternalUrl = mkOption {
          type = types.nullOr types.str;
          default = null;
          description = "URL under which people reach the server, for links.";
        };
        extraFlags = mkOption {
          type = types.listOf types.str;
          default = [ ];
          description = "Flags of `clanmon server` beside those that follow from the other options.";
        };
        globalConfig = mkOption {
          type = types.attrsOf types.anything;
          default = { };
          description = "`global` in Prometheus' configuration file.";
        };
        scrapeConfigs = list "scrape_configs";
        remoteWrite = list "remote_write";
        remoteRead = list "remote_read";
        alertmanagers = list "alerting.alertmanagers";
        rules = mkOption {
          type = types.listOf types.str;
          default = [ ];
          description = "Rule files as text.";
        };
        ruleFiles = mkOption {
          type = types.listOf types.path;
          default = [ ];
          description = "Rule files.";
        };
        inventoryFile = mkOption {
          type = types.nullOr types.str;
          default = null;
          description = "Machines in a file, for the method `inventory`; docs/discovery.md has its format.";
        };
        tls = {
          inherit ((import ../options.nix { inherit lib; }).server.options.tls) enable pages;
        }
        // lib.mapAttrs
          (
            _: description:
            mkOption {
              type = types.nullOr types.str;
              default = null;
              inherit description;
            }
          )
          {
            caFile = "Certificates of the authority that made those of the exporters.";
            certFile = "Certificate that the server shows to exporters.";
            keyFile = "Its key; root has to be able to read it, nobody else.";
            serverName = "Name to which the exporters' certificates are made out, if not to their addresses.";
          };
      };
    };
  };

  config = mkIf cfg.enable {
    assertions = map (message: {
      assertion = false;
      inherit message;
    }) (
      judged.problems
      ++ lib.optional (cfg.tls.enable && (cfg.tls.caFile == null || cfg.tls.certFile == null || cfg.tls.keyFile == null)) (
        "${where}: tls.enable needs tls.caFile, tls.certFile and tls.keyFile"
      )
      ++ lib.optional (cfg.tls.pages && !cfg.tls.enable) "${where}: tls.pages needs tls.enable"
      ++ lib.mapAttrsToList (
        name: _: "${where}: notify.${name}.secret: only clan can ask for a secret; name its file by secretFile"
      ) (lib.filterAttrs (_: n: n.secret && n.secretFile == null) cfg.notify)
      ++ lib.optional (cfg.heartbeat.secret && cfg.heartbeat.secretFile == null) (
        "${where}: heartbeat.secret: only clan can ask for a secret; name its file by secretFile"
      )
      ++ lib.optional ((config.services.prometheus.enable or false) && config.services.prometheus.port == cfg.port) (
        "${where}: port: services.prometheus has port ${toString cfg.port} as well; give one of them another port"
      )
    );
    warnings = judged.warnings ++ clanmon.closedWarnings config [ opened ];

    users.users.${user} = {
      isSystemUser = true;
      group = user;
      description = "clanmon server";
    };
    users.groups.${user} = { };
    environment.systemPackages = [ cfg.package.command ];
    environment.etc = {
      "clanmon/server/settings.json".text = builtins.toJSON settings;
      "clanmon/server/prometheus.yml".source = configFile;
    }
    // lib.optionalAttrs cfg.tls.pages { "clanmon/server/web.json".text = webConfig; }
    // lib.optionalAttrs (cfg.alertmanagerConfig != null) {
      "clanmon/server/alertmanager.yml".source = alertmanagerFile;
    };

    systemd.services.clanmon-server =
      (import ./units.nix { inherit lib; }).server {
        program = "${cfg.package}/bin/clanmon";
        inherit user;
        inherit (cfg) stateDir;
        lowPort = cfg.port < 1024;
        needsTailscale = lib.elem "tailscale" methods;
        after = lib.optional (lib.elem "tailscale" methods) "tailscaled.service";
        args = [
          "--config.file=/etc/clanmon/server/prometheus.yml"
          "--clan.settings=/etc/clanmon/server/settings.json"
          "--web.listen-address=${bracketed}:${toString cfg.port}"
          "--storage.tsdb.path=/var/lib/${cfg.stateDir}"
        ]
        ++ lib.optional cfg.tls.pages "--web.config.file=/etc/clanmon/server/web.json"
        ++ lib.optional (cfg.alertmanagerConfig != null) "--alertmanager.config.file=/etc/clanmon/server/alertmanager.yml"
        ++ flags;
        credentials =
          clanmon.server.credentials {
            settings = cfg;
            generated = name: throw "${where}: ${name}";
          }
          ++ lib.optionals cfg.tls.enable [
            "tls-ca:${cfg.tls.caFile}"
            "tls-cert:${cfg.tls.certFile}"
            "tls-key:${cfg.tls.keyFile}"
          ];
      }
      // {
        reloadTriggers = [
          (builtins.toJSON settings)
          configFile
          (builtins.toJSON cfg.alertmanagerConfig)
        ];
      };

    networking.firewall = clanmon.firewall {
      nftables = config.networking.nftables.enable or false;
      opened = [ opened ];
    };

    system.checks = [
      (import ./check.nix {
        inherit lib pkgs flags;
        inherit (cfg) package;
        settings = removeAttrs settings [ "inventoryFile" ] // {
          discoveryMethod = lib.filter (m: m != "inventory") methods;
        };
        inventory = null;
        configFile = configFile;
        alertmanagerFile = if cfg.alertmanagerConfig == null then null else alertmanagerFile;
      })
    ];
  };
}
