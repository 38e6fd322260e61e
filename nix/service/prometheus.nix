# The clan service under the name of the older community service "prometheus": its
# defaults, its options and its habits, so that an inventory written for that works as
# it stands. Nothing else knows of it.
let
  # Exporters that it had and clanmon does not: NixOS' own.
  foreign = [
    "domain"
    "json"
    "snmp"
  ];
  # Options of its exporters that have no effect here.
  ineffective = {
    firewallFilter = "use `interfaces`, which works with iptables and nftables";
    firewallRules = "use `interfaces`, which works with iptables and nftables";
    user = "all exporters run as clanmon-exporter, in one process";
    group = "all exporters run as clanmon-exporter, in one process";
    runAsLocalSuperUser = "the exporter has a role of its own in this machine's PostgreSQL";
    telemetryPath = "metrics are at /metrics";
    enableConfigCheck = "the exporter reads the file of `configFile` when it starts";
  };
in
import ./service.nix {
  name = "prometheus";

  interfaces.server =
    { lib, ... }:
    {
      config.openFirewall = lib.mkDefault true;
      config.discoveryMethod = lib.mkDefault "none";
    };
  interfaces.exporter =
    { lib, ... }:
    {
      options.exporterType = lib.mkOption { type = lib.types.nullOr (lib.types.enum foreign); };
      options.exporters = lib.genAttrs foreign (
        type:
        lib.mkOption {
          type = lib.types.nullOr (lib.types.attrsOf lib.types.anything);
          default = null;
          description = "Options of `services.prometheus.exporters.${type}` of NixOS.";
        }
      );
      config.openFirewall = lib.mkDefault true;
    };

  translate =
    lib:
    let
      clanmon = import ../lib.nix { inherit lib; };
    in
    {
      server =
        where: given:
        let
          # It scraped staticTargets whatever the method was.
          s =
            given
            // lib.optionalAttrs (given.staticTargets != { }) {
              enableAutoDiscovery = true;
              discoveryMethod = lib.unique (
                [ "static" ]
                ++ lib.optionals (given.enableAutoDiscovery && given.discoveryMethod != null) (
                  lib.filter (m: m != "none") (lib.toList given.discoveryMethod)
                )
              );
            };
          # Its discovery had jobs of other names, so that those of ours were free.
          taken = lib.optionals s.enableAutoDiscovery (
            clanmon.discoveredJobs s (lib.optionals (s.discoveryMethod != null) (lib.toList s.discoveryMethod))
          );
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
        {
          settings = s // {
            additionalScrapeConfigs = map rename s.additionalScrapeConfigs;
            scrapeConfigs = map rename s.scrapeConfigs;
          };
          nixosModule =
            { config, ... }:
            {
              services.clanmon.server.lenient = true;
              services.clanmon.server.scrapeSelf = false;
              warnings = lib.optional (s.openFirewall == true && s.interfaces == [ ]) (
                "${where}: port ${toString config.services.prometheus.port} is open on all interfaces, as in the older service, and so are those of the exporters. "
                + ''Set `interfaces = [ "tailscale0" ];` (or openFirewall = null for the VPN only) in both roles, or change module.name to "clanmon", which does the latter by itself and watches the clan's machines without more settings.''
              );
            };
        };

      exporter =
        where: given:
        let
          isForeign = lib.elem given.exporterType foreign;
          declared = lib.attrNames (
            (import ../options.nix { inherit lib; }).exporter
            // (import ./options.nix { inherit lib; }).exporter
          );
          flat = removeAttrs given (declared ++ [ "_module" ]);
          unused = lib.filterAttrs (n: v: ineffective ? ${n} && v != null && v != "/metrics") flat;
          sections =
            clanmon.some (lib.getAttrs foreign given.exporters)
            // lib.optionalAttrs isForeign {
              ${given.exporterType} = flat // clanmon.some { inherit (given) port; };
            };
          ours = removeAttrs given (lib.attrNames ineffective) // {
            exporters = removeAttrs given.exporters foreign;
          };
        in
        {
          settings =
            if isForeign then
              removeAttrs ours (lib.attrNames flat)
              // {
                exporterType = null;
                port = null;
                exporters = lib.recursiveUpdate { node.enable = false; } (clanmon.some ours.exporters);
              }
            else
              ours;
          nixosModule =
            { config, ... }:
            {
              imports = [
                ../nixos/common.nix
              ]
              ++ lib.optional (sections != { }) {
                _file = where;
                config.services.prometheus.exporters = lib.mapAttrs (
                  _: s:
                  {
                    enable = true;
                  }
                  // removeAttrs s [
                    "openFirewall"
                    "interfaces"
                  ]
                ) sections;
              };
              config = {
                services.clanmon.ports = lib.mapAttrsToList (type: s: {
                  inherit where;
                  what = "the exporter ${type}";
                  inherit (config.services.prometheus.exporters.${type}) port;
                  openFirewall = s.openFirewall or given.openFirewall;
                  interfaces = s.interfaces or given.interfaces;
                }) sections;
                warnings = lib.optionals (!isForeign) (
                  lib.mapAttrsToList (n: _: "${where}: ${n} has no effect: ${ineffective.${n}}") unused
                );
              };
            };
        };
    };
}
