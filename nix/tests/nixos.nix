# A machine without NixOS: the options that our modules read or set, as far as they
# need them, with types as strict as NixOS'. Everything else "does not exist", as it
# would there.
{ lib, pkgs }:
{ config, ... }:
let
  prometheus = config.services.prometheus;
  inherit (lib) mkOption types;
  option =
    type: default:
    mkOption {
      inherit type default;
    };
  strings = option (types.listOf types.str) [ ];
  list = option (types.listOf types.raw) [ ];
  off = option types.bool false;
  some = option (types.attrsOf types.anything) { };
  nullOrString = option (types.nullOr types.str) null;
  ports = option (types.listOf types.port) [ ] // {
    apply = ports: lib.sort (a: b: a < b) (lib.unique ports);
  };
  section = options: types.submodule { inherit options; };
  exporter = port: {
    enable = off;
    port = option types.port port;
    configFile = option (types.nullOr types.path) null;
  };
  # What a unit says: lists add up, everything else may be said once.
  unitValue = lib.mkOptionType {
    name = "unit option";
    merge =
      path: defs:
      if lib.any (d: lib.isList d.value) defs then
        lib.concatMap (d: lib.toList d.value) defs
      else
        types.raw.merge path defs;
  };
  # Closed, as NixOS' own.
  scrapeConfig = section {
    job_name = option types.str null;
    basic_auth = some;
    metrics_path = nullOrString;
    relabel_configs = list;
    scheme = nullOrString;
    scrape_interval = nullOrString;
    static_configs = list;
    tls_config = some;
  };
  written = lib.filterAttrs (_: v: v != null && v != [ ] && v != { });
in
{
  options = {
    assertions = list;
    warnings = strings;
    system.checks = list;
    system.nixos.label = option types.str "26.05.20261128.9c1f2a3";
    system.configurationRevision = nullOrString;
    environment = {
      systemPackages = list;
      etc = option (types.attrsOf (section {
        text = option (types.nullOr types.lines) null;
        source = option (types.nullOr types.path) null;
      })) { };
    };
    systemd.services = option (types.attrsOf (section {
      after = strings;
      description = option types.str "";
      documentation = strings;
      environment = option (types.attrsOf (types.nullOr types.str)) { };
      partOf = strings;
      path = list;
      reloadTriggers = list;
      requires = strings;
      restartTriggers = list;
      script = option types.lines "";
      serviceConfig = option (types.attrsOf unitValue) { };
      unitConfig = option (types.attrsOf unitValue) { };
      wantedBy = strings;
      wants = strings;
    })) { };
    systemd.sockets = option (types.attrsOf (section {
      description = option types.str "";
      documentation = strings;
      socketConfig = option (types.attrsOf unitValue) { };
      wantedBy = strings;
    })) { };
    users.users = some;
    users.groups = some;
    networking = {
      hostName = option types.str "srv";
      firewall = {
        enable = option types.bool true;
        allowedTCPPorts = ports;
        interfaces = option (types.attrsOf (section {
          allowedTCPPorts = ports;
        })) { };
      };
      nftables.enable = off;
      wireguard.interfaces = some;
      wg-quick.interfaces = some;
    };
    services = {
      tailscale.enable = off;
      tailscale.interfaceName = option types.str "tailscale0";
      zerotierone.enable = off;
      yggdrasil.enable = off;
      yggdrasil.settings = some;
      grafana.provision = {
        enable = off;
        datasources.settings.datasources = list;
        dashboards.settings.providers = list;
      };
      nginx.enable = off;
      nginx.statusPage = off;
      nginx.defaultHTTPListenPort = option types.port 80;
      postgresql = {
        enable = off;
        package = option types.package pkgs.postgresql;
        superUser = option types.str "postgres";
        settings = some;
      };
      redis.servers = option (types.attrsOf (section {
        enable = off;
        port = option types.port 0;
        bind = option (types.nullOr types.str) "127.0.0.1";
        unixSocket = option (types.nullOr types.path) null;
        user = option types.str "redis";
        group = option types.str "redis";
        requirePassFile = option (types.nullOr types.path) null;
      })) { };
      prometheus = {
        enable = off;
        package = option types.package pkgs.prometheus;
        port = option types.port 9090;
        listenAddress = option types.str "0.0.0.0";
        stateDir = option types.str "prometheus2";
        extraFlags = strings;
        rules = strings;
        ruleFiles = option (types.listOf types.path) [ ];
        retentionTime = nullOrString;
        webExternalUrl = nullOrString;
        webConfigFile = option (types.nullOr types.path) null;
        configText = option (types.nullOr types.lines) null;
        globalConfig = option (section { scrape_interval = nullOrString; }) { };
        scrapeConfigs = option (types.listOf scrapeConfig) [ ];
        alertmanagers = option (types.listOf types.attrs) [ ];
        remoteWrite = option (types.listOf types.attrs) [ ];
        remoteRead = option (types.listOf types.attrs) [ ];
        checkConfig = option (types.either types.bool (types.enum [ "syntax-only" ])) true;
        enableReload = off;
        enableAgentMode = off;
        exporters = {
          node = exporter 9100;
          systemd = exporter 9558;
          nginx = exporter 9113;
          postgres = exporter 9187;
          redis = exporter 9121;
          blackbox = exporter 9115;
          domain = exporter 9222;
          json = exporter 7979;
          snmp = exporter 9116;
        };
      };
    };
    clan.core = {
      networking.internalListenAddresses = strings;
      state = some;
      vars.generators = option (types.attrsOf (
        types.submodule (
          { name, ... }:
          let
            generator = name;
          in
          {
            freeformType = types.attrsOf types.anything;
            options.files = option (types.attrsOf (
              types.submodule (
                { name, ... }:
                {
                  options = {
                    secret = option types.bool true;
                    deploy = option types.bool true;
                    restartUnits = strings;
                    path = option types.str "/run/secrets/vars/${generator}/${name}";
                  };
                }
              )
            )) { };
          }
        )
      )) { };
    };
  };

  # The unit that NixOS' own module makes, as far as it matters here: what it lets
  # the program do.
  config = lib.mkIf prometheus.enable {
    environment.etc."prometheus.yml".text = builtins.toJSON {
      global = written prometheus.globalConfig;
      scrape_configs = map written prometheus.scrapeConfigs;
    };
    systemd.services.prometheus = {
      after = [ "network.target" ];
      serviceConfig = {
        ExecStart = lib.concatStringsSep " " (
          [ (lib.getExe prometheus.package) ]
          ++ prometheus.extraFlags
          ++ [
            "--config.file=/etc/prometheus.yml"
            "--web.listen-address=${prometheus.listenAddress}:${toString prometheus.port}"
            "--alertmanager.notification-queue-capacity=10000"
            "--storage.tsdb.path=/var/lib/${prometheus.stateDir}/data/"
          ]
          ++ lib.optionals (prometheus.webConfigFile != null) [
            "--web.config.file=${prometheus.webConfigFile}"
          ]
        );
        User = "prometheus";
        Restart = "always";
        RuntimeDirectory = "prometheus";
        RuntimeDirectoryMode = "0700";
        WorkingDirectory = "/var/lib/${prometheus.stateDir}";
        StateDirectory = prometheus.stateDir;
        StateDirectoryMode = "0700";
        CapabilityBoundingSet = [ "" ];
        DeviceAllow = [ "/dev/null rw" ];
        DevicePolicy = "strict";
        LockPersonality = true;
        MemoryDenyWriteExecute = true;
        NoNewPrivileges = true;
        PrivateDevices = true;
        PrivateTmp = true;
        PrivateUsers = true;
        ProtectClock = true;
        ProtectControlGroups = true;
        ProtectHome = true;
        ProtectHostname = true;
        ProtectKernelLogs = true;
        ProtectKernelModules = true;
        ProtectKernelTunables = true;
        ProtectProc = "invisible";
        ProtectSystem = "full";
        RemoveIPC = true;
        RestrictAddressFamilies = [
          "AF_INET"
          "AF_INET6"
          "AF_UNIX"
        ];
        RestrictNamespaces = true;
        RestrictRealtime = true;
        RestrictSUIDSGID = true;
        SystemCallArchitectures = "native";
        SystemCallFilter = [
          "@system-service"
          "~@privileged"
        ];
      };
    };
  };
}
