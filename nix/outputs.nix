# The outputs of the flake.
{
  self,
  nixpkgs,
  clan-core,
  ...
}:
let
  inherit (nixpkgs) lib;
  eachSystem =
    f:
    lib.genAttrs [
      "x86_64-linux"
      "aarch64-linux"
    ] (system: f nixpkgs.legacyPackages.${system});
  package =
    pkgs:
    pkgs.callPackage ./package.nix {
      buildVersion = "unstable-${builtins.substring 0 8 (self.lastModifiedDate or "19700101")}";
      buildCommit = self.shortRev or self.dirtyShortRev or "";
    };
in
{
  packages = eachSystem (pkgs: rec {
    clanmon = package pkgs;
    clanmon-slim = clanmon.override { withoutClouds = true; };
    default = clanmon;
  });

  overlays.default = _final: prev: { clanmon = package prev; };

  apps = eachSystem (pkgs: {
    default = {
      type = "app";
      program = "${package pkgs}/bin/clanmon";
      meta.description = "clanmon's roles: server, exporter, check, …";
    };
  });

  nixosModules = {
    server = ./nixos/server.nix;
    exporter = ./nixos/exporter.nix;
    default = {
      imports = [
        ./nixos/server.nix
        ./nixos/exporter.nix
      ];
    };
  };

  clan.modules = {
    clanmon = ./service/clanmon.nix;
    prometheus = ./service/prometheus.nix;
  };

  checks = eachSystem (
    pkgs:
    import ./tests/checks.nix {
      inherit self pkgs clan-core;
    }
  );

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
