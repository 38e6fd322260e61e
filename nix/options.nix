# The options of both roles. The clan service and the NixOS modules share them, so
# they hold nothing that a JSON schema cannot say.
#
# older is the clan service that was called prometheus: its defaults.
{
  lib,
  older ? false,
}:
let
  inherit (lib) mkOption types;
  inherit (import ./lib.nix { inherit lib; }) kinds exporter;

  openFirewall = mkOption {
    type = types.nullOr types.bool;
    default = if older then true else null;
    description = ''
      Whether to let other machines reach the port: `true` on all interfaces, `false` on
      none, `null` on those of the VPNs of this machine (Tailscale, WireGuard, ZeroTier,
      and yggdrasil of clan-core). `interfaces` narrows it down.
    '';
  };
  interfaces = mkOption {
    type = types.listOf types.str;
    default = [ ];
    example = [ "tailscale0" ];
    description = ''
      Open the port on these interfaces only. A name may end in `+` for all that begin so.
      Right with iptables and with nftables.
    '';
  };

  section = types.submodule {
    freeformType = types.attrsOf types.anything;
    options = {
      enable = mkOption {
        type = types.bool;
        default = true;
        description = "Whether to run this exporter.";
      };
      port = mkOption {
        type = types.nullOr types.port;
        default = null;
        description = "Port, the usual one if `null`.";
      };
    };
  };
in
{
  exporter = {
    freeformType = types.attrsOf types.anything;
    options = {
      exporterType = mkOption {
        type = types.nullOr (types.enum (kinds ++ exporter.others));
        default = null;
        example = "nginx";
        description = ''
          The exporter of this machine, `node` if `null`. `node` brings `systemd` along, on port
          9558, unless `exporters.systemd.enable` is `false`. Options of the exporter stand beside it: `enabledCollectors`, `scrapeUri`,
          and so on. `blackbox`, `domain`, `json` and `snmp` are not part of clanmon: they are
          NixOS' own exporters with the options of `services.prometheus.exporters`, and what
          they ask is for `additionalScrapeConfigs` to say.
        '';
      };
      exporters = mkOption {
        type = types.attrsOf section;
        default = { };
        example = {
          nginx.scrapeUri = "http://127.0.0.1/nginx_status";
          redis.addr = "redis://127.0.0.1:6380";
        };
        description = ''
          More exporters by their types, in the same process: `node`, `systemd`, `nginx`,
          `postgres`, `redis`. Beside `enable` and `port` each takes `listenAddress`,
          `extraFlags`, `settings` (any flag of `clanmon exporter` by its name, without the
          dashes), `openFirewall`, `interfaces`; node `enabledCollectors` and
          `disabledCollectors`; nginx `scrapeUri`, `sslVerify` and `constLabels`; postgres
          `dataSourceName`, `dsnFile` and `environmentFile`; redis `addr` and `passwordFile`.
          nginx, PostgreSQL and Redis of the machine are found without.
        '';
      };
      port = mkOption {
        type = types.nullOr types.port;
        default = null;
        description = "Port of the exporter that `exporterType` names, the usual one if `null`.";
      };
      enabledCollectors = mkOption {
        type = types.listOf types.str;
        default = [ ];
        example = [
          "systemd"
          "temperature"
        ];
        description = ''
          Collectors of node beside those that run anyway: names of node_exporter's, or everyday
          words such as `cpu`, `memory`, `disk`, `network`, `systemd`. `clanmon exporter
          --list-collectors` prints them.
        '';
      };
      disabledCollectors = mkOption {
        type = types.listOf types.str;
        default = [ ];
        example = [ "wifi" ];
        description = "Collectors of node that do not run, in the same words.";
      };
      host = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "10.0.0.7";
        description = ''
          Name or address under which servers reach this machine (discovery method `inventory`).
          By default `<machine>.<domain of the clan>`; a server asks its own machine at `localhost`.
        '';
      };
      availability = mkOption {
        type = types.enum [
          "always"
          "intermittent"
        ];
        default = "always";
        example = "intermittent";
        description = ''
          Whether the machine is meant to be on all the time. Nobody is told that an
          `intermittent` one is down. Set it for a tag of machines by
          `roles.exporter.tags.laptop.settings`.
        '';
      };
      tags = mkOption {
        type = types.listOf types.str;
        default = [ ];
        example = [ "web" ];
        description = ''
          Tags that the machine has in clanmon's pages and alerts. Give those of the clan by
          `roles.exporter.tags.web.settings.tags = [ "web" ]`.
        '';
      };
      inherit openFirewall interfaces;
    };
  };

  server = {
    freeformType = types.attrsOf types.anything;
    options = {
      enableAutoDiscovery = mkOption {
        type = types.bool;
        default = true;
        description = "Whether to look for machines at all; `false` leaves `additionalScrapeConfigs` and `scrapeConfigs`.";
      };
      discoveryMethod =
        let
          method = types.enum [
            "none"
            "inventory"
            "tailscale"
            "dns"
            "static"
          ];
        in
        mkOption {
          type = types.nullOr (types.either method (types.listOf method));
          default = if older then "none" else null;
          example = [
            "inventory"
            "tailscale"
          ];
          description = ''
            How machines are found, one way or several: `inventory`, the machines of this clan with
            the role exporter; `tailscale`, the Linux machines of the tailnet; `dns`; `static`;
            `none`. `null` is `inventory` if there is a machine with the role exporter, else `none`.
          '';
        };
      dnsDiscovery = mkOption {
        type = types.attrsOf (
          types.submodule {
            options = {
              names = mkOption {
                type = types.listOf types.str;
                description = "Names to look up; `*.NAME` is every name of a zone that may be transferred.";
              };
              type = mkOption {
                type = types.enum [
                  "A"
                  "AAAA"
                  "SRV"
                  "MX"
                  "NS"
                ];
                default = "A";
                description = "Type of the records.";
              };
              port = mkOption {
                type = types.nullOr types.port;
                default = null;
                description = "Port; the usual one of the job if `null`.";
              };
            };
          }
        );
        default = { };
        example = {
          node = {
            names = [ "*.monitoring.example.org" ];
            type = "A";
            port = 9100;
          };
        };
        description = "Names by job, for the method `dns`.";
      };
      staticTargets = mkOption {
        type = types.attrsOf (types.listOf types.str);
        default = { };
        example = {
          node = [
            "10.0.0.1"
            "db@10.0.0.7:9101"
          ];
        };
        description = "Targets by job, `[NAME@]HOST[:PORT]`, for the method `static`.";
      };
      tailscale = {
        socket = mkOption {
          type = types.nullOr types.str;
          default = null;
          description = "Socket of tailscaled, if it is not in the usual place.";
        };
        jobs = mkOption {
          type = types.listOf types.str;
          default = [ ];
          example = [
            "node"
            "nginx@tag:web"
          ];
          description = "What to scrape on each machine of the tailnet, `JOB[:PORT][@TAG,…]`; all five jobs if empty. A machine counts once it has answered.";
        };
        tags = mkOption {
          type = types.listOf types.str;
          default = [ ];
          description = "Only machines that have one of these tags in the tailnet.";
        };
        intermittentTags = mkOption {
          type = types.listOf types.str;
          default = [ ];
          description = "Tags of machines that are not meant to be on all the time; `laptop` and `intermittent` if empty.";
        };
      };
      additionalScrapeConfigs = mkOption {
        type = types.listOf types.anything;
        default = [ ];
        example = [
          {
            job_name = "router";
            static_configs = [ { targets = [ "192.168.1.1:9100" ]; } ];
          }
        ];
        description = "Scrape configurations of Prometheus' file, with everything that the program knows, beside what is discovered.";
      };
      tls.enable = mkOption {
        type = types.bool;
        default = false;
        description = ''
          Mutual TLS between this instance's servers and exporters, set here alone: clan makes a
          certificate authority and a certificate per machine; exporters answer nobody who has no
          certificate of a server, and servers ask everything that they discover by HTTPS.
        '';
      };
      tls.pages = mkOption {
        type = types.bool;
        default = false;
        description = ''
          Serve pages and API by HTTPS too, with the machine's certificate. Browsers then have to
          be told of the clan's authority; a certificate of the browser's own is not asked for.
        '';
      };
      notify = mkOption {
        type = types.attrsOf (
          types.submodule {
            options = {
              url = mkOption {
                type = types.str;
                example = "ntfy://ntfy.sh/my-fleet";
                description = "Where, as `clanmon server --notify` takes it, without the secret.";
              };
              secret = mkOption {
                type = types.bool;
                default = false;
                description = "Clan asks for the token (mailto: the password; slack and webhook: the address) and keeps it.";
              };
              secretFile = mkOption {
                type = types.nullOr types.str;
                default = null;
                description = "File on the machine that holds it; root has to be able to read it, nobody else.";
              };
            };
          }
        );
        default = { };
        example = {
          ops = {
            url = "ntfy://ntfy.sh/my-fleet";
            secret = true;
          };
        };
        description = "Who is told of alerts.";
      };
      heartbeat = {
        secret = mkOption {
          type = types.bool;
          default = false;
          description = "Clan asks for the address of a dead man's switch (such as healthchecks.io), which is asked every minute while alerts are evaluated.";
        };
        secretFile = mkOption {
          type = types.nullOr types.str;
          default = null;
          description = "File on the machine that holds that address.";
        };
      };
      alertmanagerConfig = mkOption {
        type = types.nullOr (types.attrsOf types.anything);
        default = null;
        description = "A whole alertmanager.yml for the server's own delivery, if `notify` is not enough. Secrets by files.";
      };
      builtinRules = {
        enable = mkOption {
          type = types.nullOr types.bool;
          default = null;
          description = "Whether to evaluate the rules in the program; `null` is yes when machines are discovered.";
        };
        disable = mkOption {
          type = types.listOf types.str;
          default = [ ];
          example = [ "FilesystemFull" ];
          description = "Rules in the program to leave out.";
        };
        set = mkOption {
          type = types.attrsOf (
            types.attrsOf (
              types.oneOf [
                types.int
                types.float
                types.str
              ]
            )
          );
          default = { };
          example = {
            FilesystemFull.threshold = 0.05;
          };
          description = "Settings of rules in the program; `clanmon rules` lists them.";
        };
      };
      inherit openFirewall interfaces;
    };
  };
}
