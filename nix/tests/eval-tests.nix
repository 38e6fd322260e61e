# Tests in clan-core's format (nix-unit reads `expr` and `expected`): the service in
# clan-core's own inventory, on NixOS' own modules. checks.nix runs them; `nix flake
# check` does.
{
  module,
  older,
  clanLib,
  lib,
  ...
}:
let
  clan =
    instances:
    clanLib.clan {
      self = { };
      directory = ./.;
      meta.name = "test";
      machines = {
        hub = {
          nixpkgs.hostPlatform = "x86_64-linux";
          services.tailscale.enable = true;
        };
        web.nixpkgs.hostPlatform = "x86_64-linux";
      };
      modules.clanmon = module;
      modules.prometheus = older;
      inventory = {
        machines.hub = { };
        machines.web.tags = [ "web" ];
        inherit instances;
      };
    };
  config = c: name: c.config.nixosConfigurations.${name}.config;
  failed =
    c:
    map (a: a.message) (
      lib.filter (a: !a.assertion && lib.hasInfix "clan instance" a.message) c.assertions
    );
  etc = c: name: builtins.fromJSON c.environment.etc."clanmon/${name}.json".text;

  simple = clan {
    monitoring = {
      module.name = "clanmon";
      module.input = "self";
      roles.server.machines.hub.settings.retentionTime = "30d";
      roles.exporter.tags.all = { };
      # Not tags.web.settings, which clan-core has since July 2026 only.
      roles.exporter.machines.web.settings.tags = [ "web" ];
    };
  };
  # Word for word what the older service documents.
  documented = clan {
    "monitoring" = {
      module.name = "prometheus";
      module.input = "self";
      roles.server = {
        machines.hub = { };
        settings = {
          enableAutoDiscovery = true;
          discoveryMethod = "tailscale";
          port = 9090;
          retentionTime = "30d";
          additionalScrapeConfigs = [
            {
              job_name = "external-service";
              static_configs = [ { targets = [ "api.example.com:9090" ]; } ];
            }
          ];
        };
      };
      roles.exporter = {
        tags."all" = { };
        settings = {
          exporterType = "node";
          port = 9100;
          enabledCollectors = [
            "systemd"
            "cpu"
            "memory"
            "disk"
            "network"
          ];
        };
      };
    };
  };
in
{
  test_server_is_prometheus_with_our_package = {
    expr = {
      inherit ((config simple "hub").services.prometheus) enable retentionTime;
      program = lib.hasInfix "/bin/prometheus" (config simple "hub")
      .systemd.services.prometheus.serviceConfig.ExecStart;
    };
    expected = {
      enable = true;
      retentionTime = "30d";
      program = true;
    };
  };

  test_server_knows_all_exporters = {
    expr = (etc (config simple "hub") "inventory").machines.web;
    expected = {
      addresses = [ "web.clan" ];
      availability = "always";
      exporters = {
        node = 9100;
        systemd = 9558;
      };
      tags = [ "web" ];
    };
  };

  test_only_the_vpn_is_open = {
    expr = {
      hub = (config simple "hub").networking.firewall.interfaces.tailscale0.allowedTCPPorts;
      web = lib.elem 9100 (config simple "web").networking.firewall.allowedTCPPorts;
      told = lib.any (lib.hasInfix "closed") (config simple "web").warnings;
    };
    expected = {
      hub = [
        9090
        9100
        9558
      ];
      web = false;
      told = true;
    };
  };

  test_nothing_fails = {
    expr = map (n: failed (config simple n)) [
      "hub"
      "web"
    ];
    expected = [
      [ ]
      [ ]
    ];
  };

  test_interfaces_have_a_schema = {
    expr = lib.mapAttrs (_: s: lib.attrNames s.result.api.schema) simple.config._services.allServices;
    expected.self-clanmon = [
      "exporter"
      "server"
    ];
  };

  test_endpoint = {
    expr = simple.config.exports."clanmon:monitoring:server:hub".endpoints.hosts;
    expected = [ "monitoring.clan" ];
  };

  test_inventory_of_the_older_service = {
    expr = {
      ports = lib.all (p: lib.elem p (config documented "hub").networking.firewall.allowedTCPPorts) [
        9090
        9100
        9558
      ];
      failed = failed (config documented "hub");
      settings = etc (config documented "hub") "settings";
    };
    expected = {
      ports = true;
      failed = [ ];
      settings = {
        discoveryMethod = [ "tailscale" ];
        additionalScrapeConfigs = [
          {
            job_name = "external-service";
            static_configs = [ { targets = [ "api.example.com:9090" ]; } ];
          }
        ];
      };
    };
  };
}
