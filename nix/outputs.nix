# The outputs of the flake. Its checks that need clan-core are in nix/tests/flake.nix,
# so that nobody else has to fetch that.
{ self, nixpkgs, ... }:
let
  inherit (nixpkgs) lib;
  eachSystem =
    f:
    lib.genAttrs [
      "x86_64-linux"
      "aarch64-linux"
    ] (system: f nixpkgs.legacyPackages.${system});
  date = self.lastModifiedDate or "19700101";
  part = builtins.substring;
  package =
    pkgs:
    pkgs.callPackage ./package.nix {
      buildVersion = "0-unstable-${part 0 4 date}-${part 4 2 date}-${part 6 2 date}";
      buildCommit = self.shortRev or self.dirtyShortRev or "";
    };
in
{
  packages = eachSystem (pkgs: rec {
    clanmon = package pkgs;
    clanmon-slim = clanmon.override { withoutClouds = true; };
    default = clanmon;
  });

  overlays.default = final: _prev: { clanmon = package final; };

  nixosModules = {
    server = ./nixos/server.nix;
    exporter = ./nixos/exporter.nix;
    default.imports = [
      ./nixos/server.nix
      ./nixos/exporter.nix
    ];
  };

  clan.modules = {
    clanmon = ./service/clanmon.nix;
    prometheus = ./service/prometheus.nix;
  };
  # The second name is for inventories of an older service. Nobody should choose it.
  clan.deprecatedModules = [ "prometheus" ];

  checks = eachSystem (
    pkgs:
    let
      packages = self.packages.${pkgs.stdenv.hostPlatform.system};
    in
    {
      package = packages.clanmon;
      package-slim = packages.clanmon-slim;
      inherit (packages.clanmon.tests) nixos;
      formatting = pkgs.runCommand "clanmon-formatting" { nativeBuildInputs = [ pkgs.nixfmt ]; } ''
        find ${self} -name '*.nix' -exec nixfmt --check {} +
        touch $out
      '';
    }
  );

  formatter = eachSystem (pkgs: pkgs.nixfmt-tree);

  devShells = eachSystem (pkgs: {
    default = pkgs.mkShell {
      packages = [
        pkgs.go
        pkgs.gnumake
        pkgs.nix
        pkgs.nixfmt
        pkgs.nodejs
        pkgs.openssl
      ];
    };
  });
}
