# The checks of the clan service, on clan-core's own inventory:
#
#   nix flake check ./nix/tests
{
  description = "clanmon: checks of the clan service";

  inputs = {
    clanmon.url = "path:../..";
    nixpkgs.follows = "clanmon/nixpkgs";
    clan-core.url = "git+https://git.clan.lol/clan/clan-core";
    clan-core.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs =
    {
      clanmon,
      nixpkgs,
      clan-core,
      ...
    }:
    {
      checks = nixpkgs.lib.mapAttrs (
        system: _:
        import ./checks.nix {
          inherit clanmon clan-core;
          pkgs = nixpkgs.legacyPackages.${system};
        }
      ) clanmon.packages;
    };
}
