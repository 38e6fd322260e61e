# Options of the roles that only a clan has.
{ lib }:
let
  inherit (lib) mkOption types;
  # Options of services.prometheus that add up between a role and its machines.
  lists = [
    "alertmanagers"
    "extraFlags"
    "remoteRead"
    "remoteWrite"
    "ruleFiles"
    "rules"
    "scrapeConfigs"
  ];
in
{
  inherit lists;

  server =
    lib.genAttrs lists (
      option:
      mkOption {
        type = types.listOf types.anything;
        default = [ ];
        description = "As `services.prometheus.${option}` of NixOS. Role and machine settings add up.";
      }
    )
    // {
      backup = mkOption {
        type = types.enum [
          "state"
          "all"
          "none"
        ];
        default = "state";
        description = "What `clan backups create` includes: `state` is everything except the metrics, such as silences, boards and notes; `all` adds the metrics.";
      };
      tls.authorities = mkOption {
        type = types.nonEmptyListOf (types.strMatching "[a-z0-9-]+");
        default = [ "ca" ];
        example = [
          "ca"
          "ca2"
        ];
        description = "Certificate authorities of the clan that all machines trust. The first one issues the certificates. See \"Renewing certificates\".";
      };
    };

  exporter = {
    host = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "10.0.0.7";
      description = ''
        Name or address at which servers scrape this machine. `null` is what clan's networks
        (ZeroTier, WireGuard, yggdrasil, …) call it, then `<machine>.<domain of the clan>`; a
        server scrapes its own machine at `localhost`.
      '';
    };
    push = {
      enable = mkOption {
        type = types.bool;
        default = false;
        description = "The machine sends its samples to the servers, for a machine that no server can reach. Clan makes its token. See \"Machines that push\".";
      };
      servers = mkOption {
        type = types.listOf types.str;
        default = [ ];
        example = [ "https://hub.example.org:9090" ];
        description = "URLs of the servers, as this machine can reach them. Empty is `<server>.<domain of the clan>` of all servers that would scrape it.";
      };
      keepPorts = mkOption {
        type = types.bool;
        default = false;
        description = "Servers also scrape the machine, whenever they can reach it.";
      };
    };
    availability = mkOption {
      type = types.enum [
        "always"
        "intermittent"
      ];
      default = "always";
      example = "intermittent";
      description = "Whether the machine is always on. No alert is sent when an `intermittent` machine is offline.";
    };
    tags = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "web" ];
      description = "Tags that the machine has in clanmon's pages and alerts.";
    };
  };
}
