# A machine without NixOS: the options that our modules read or set, as far as they
# need them. Everything else "does not exist", as it would there.
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
  ports = option (types.listOf types.port) [ ];
  exporter = port: {
    enable = off;
    port = option types.port port;
    configFile = option (types.nullOr types.str) null;
  };
in
{
  options = {
    assertions = list;
    warnings = strings;
    system.checks = list;
    environment = {
      systemPackages = list;
      etc = option (types.attrsOf (
        types.submodule {
          options = {
            text = option (types.nullOr types.lines) null;
            source = option types.raw null;
          };
        }
      )) { };
    };
    systemd.services = option (types.attrsOf (
      types.submodule {
        freeformType = types.attrsOf types.anything;
        options = {
          after = strings;
          documentation = strings;
          path = list;
          reloadTriggers = list;
          requires = strings;
          restartTriggers = list;
          wantedBy = strings;
          wants = strings;
        };
      }
    )) { };
    users.users = some;
    users.groups = some;
    networking = {
      firewall = {
        enable = option types.bool true;
        allowedTCPPorts = ports;
        interfaces = option (types.attrsOf (types.submodule { options.allowedTCPPorts = ports; })) { };
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
      nginx.enable = off;
      nginx.statusPage = off;
      postgresql = {
        enable = off;
        package = option types.raw pkgs.postgresql;
        superUser = option types.str "postgres";
        settings = some;
      };
      redis.servers = some;
      prometheus = {
        enable = off;
        package = option types.package pkgs.prometheus;
        port = option types.port 9090;
        listenAddress = option types.str "0.0.0.0";
        stateDir = option types.str "prometheus2";
        extraFlags = strings;
        rules = strings;
        ruleFiles = option (types.listOf types.path) [ ];
        retentionTime = option (types.nullOr types.str) null;
        webExternalUrl = option (types.nullOr types.str) null;
        webConfigFile = option (types.nullOr types.path) null;
        globalConfig = some;
        scrapeConfigs = list;
        alertmanagers = list;
        remoteWrite = list;
        remoteRead = list;
        checkConfig = option types.raw true;
        enableReload = off;
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
      global = prometheus.globalConfig;
      scrape_configs = prometheus.scrapeConfigs;
    };
    systemd.services.prometheus = {
      after = [ "network.target" ];
      serviceConfig = {
        ExecStart = lib.concatStringsSep " " (
          [ "${prometheus.package.outPath}/bin/prometheus" ]
          ++ prometheus.extraFlags
          ++ [
            "--config.file=/etc/prometheus.yml"
            "--web.listen-address=${prometheus.listenAddress}:${toString prometheus.port}"
            "--alertmanager.notification-queue-capacity=10000"
            "--storage.tsdb.path=/var/lib/${prometheus.stateDir}/data/"
          ]
          ++ lib.optionals (prometheus.webConfigFile != null) [ "--web.config.file=${prometheus.webConfigFile}" ]
        );
        User = "prometheus";
        Restart = "always";
        RuntimeDirectory = "prometheus";
        RuntimeDirectoryMode = "0700";
        WorkingDirectory = "/var/lib/${prometheus.stateDir}";
        StateDirectory = prometheus.stateDir;
        StateDirectoryMode = "0700";
        CapabilityBoundingSet = "";
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
