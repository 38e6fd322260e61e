# The eval tests, and both roles on machines of a clan.
{
  clanmon,
  pkgs,
  clan-core,
}:
let
  inherit (pkgs) lib;
  tests = import ./eval-tests.nix {
    module = clanmon.clan.modules.clanmon;
    older = clanmon.clan.modules.prometheus;
    inherit (clan-core) clanLib;
    inherit lib;
  };
  wrong = lib.filterAttrs (_: t: t.expr != t.expected) tests;
  nixosLib = import (pkgs.path + "/nixos/lib") { };
in
{
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

  clan-service = nixosLib.runTest {
    imports = [
      clan-core.modules.nixosTest.clanTest
      ./vm.nix
    ];
    hostPkgs = pkgs;
    clan.modules.clanmon = clanmon.clan.modules.clanmon;
  };
}
