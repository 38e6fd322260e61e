# The flake's checks: the packages, the eval tests, and both roles on machines.
{
  self,
  pkgs,
  clan-core,
}:
let
  inherit (pkgs) lib;
  system = pkgs.stdenv.hostPlatform.system;
  tests = import ./eval-tests.nix {
    module = self.clan.modules.clanmon;
    older = self.clan.modules.prometheus;
    inherit (clan-core) clanLib;
    inherit lib;
  };
  wrong = lib.filterAttrs (_: t: t.expr != t.expected) tests;
  nixosLib = import (pkgs.path + "/nixos/lib") { };
in
{
  package = self.packages.${system}.clanmon;
  package-slim = self.packages.${system}.clanmon-slim;

  eval-tests =
    if wrong == { } then
      pkgs.runCommand "clanmon-eval-tests" { } "touch $out"
    else
      throw (
        lib.concatStringsSep "\n" (
          lib.mapAttrsToList (
            name: t: "${name}: expected ${builtins.toJSON t.expected}, got ${builtins.toJSON t.expr}"
          ) wrong
        )
      );

  # Both NixOS modules without clan, on one machine.
  nixos-modules = pkgs.testers.runNixOSTest {
    name = "clanmon-nixos-modules";
    nodes.machine = {
      imports = [ self.nixosModules.default ];
      services.clanmon.exporter = {
        enable = true;
        openFirewall = false;
      };
      services.clanmon.server = {
        enable = true;
        openFirewall = false;
        discoveryMethod = "static";
        staticTargets.node = [ "localhost" ];
        globalConfig.scrape_interval = "1s";
      };
    };
    testScript = ''
      machine.wait_for_unit("clanmon-exporter.service")
      machine.wait_for_unit("clanmon-server.service")
      machine.wait_until_succeeds(
          "curl -sSfG localhost:9090/api/v1/query --data-urlencode 'query=up{job=\"node\"} == 1' | grep __name__"
      )
      machine.succeed("curl -sSf localhost:9100/metrics | grep 'node_scrape_collector_success{collector=\"timex\"} 1'")
    '';
  };

  clan-service = nixosLib.runTest {
    imports = [
      clan-core.modules.nixosTest.clanTest
      ./vm.nix
    ];
    hostPkgs = pkgs;
    clan.modules.clanmon = self.clan.modules.clanmon;
  };
}
