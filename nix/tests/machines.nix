# Machines of a clan, or of nobody, evaluated with the stand-ins, as JSON for the
# tests in Go.
#
#   clan      { machines = { NAME = [ TAG… ]; }; instances as in an inventory; }
#   machines  NixOS configuration of those that are looked at
{
  clan ? null,
  machines,
  # bin/clanmon of the packages.
  program ? "/nix/store/clanmon",
  lib ? import ./standin.nix,
}:
let
  # Packages contain themselves and all of pkgs, as real ones do: whatever walks
  # through one does not come back.
  package =
    name: outPath:
    let
      self = {
        type = "derivation";
        inherit name outPath pkgs;
        out = self;
        all = [ self ];
        outputs = [ "out" ];
        overrideAttrs = _: self;
        passthru.tests.self = self;
      };
    in
    self;
  pkgs = {
    inherit pkgs;
    callPackage = _: _: package "clanmon" program // { command = package "command" "${program}-command"; };
    # Files are for the tests to write: their text is found by their path.
    writeText =
      name: text:
      package name "/nix/store/${builtins.hashString "md5" text}-${name}" // { inherit text; };
    runCommand =
      name: _: script:
      package name "/nix/store/${name}" // { inherit script; };
    openssl = package "openssl" "/nix/store/openssl";
    postgresql = package "postgresql" "/nix/store/postgresql";
    prometheus = package "prometheus" "/nix/store/prometheus";
  };

  # What clan-core does of an inventory.
  member =
    role: tags: name:
    (role.machines or { }) ? ${name} || lib.any (t: t == "all" || lib.elem t tags) (lib.attrNames (role.tags or { }));
  service =
    file:
    let
      own = lib.filterAttrs (_: i: i.module.name == file) clan.instances;
      config.instances = lib.mapAttrs (
        _: instance: {
          roles = lib.mapAttrs (
            roleName: role: {
              machines =
                lib.mapAttrs
                  (name: tags: {
                    finalSettings.config =
                      (lib.evalModules {
                        modules = [
                          value.roles.${roleName}.interface
                        ]
                        ++ map (settings: { config = settings; }) (
                          [
                            (role.settings or { })
                            (role.machines.${name}.settings or { })
                          ]
                          ++ lib.mapAttrsToList (_: t: t.settings or { }) (
                            lib.filterAttrs (t: _: t == "all" || lib.elem t tags) (role.tags or { })
                          )
                        );
                        prefix = [ "settings" ];
                      }).config;
                  })
                  (lib.filterAttrs (name: tags: member role tags name) clan.machines);
            }
          ) instance.roles;
        }
      ) own;
      value = import (../service + "/${file}.nix") { inherit lib config; };
      machine =
        name:
        value.perMachine {
          machine = { inherit name; };
          meta.domain = clan.domain or "clan";
          instances = throw "not used";
        };
    in
    name: lib.optional (own != { }) (machine name).nixosModule;
  services = map service [
    "clanmon"
    "prometheus"
  ];

  evaluate =
    name: configuration:
    let
      inherit
        (lib.evalModules {
          specialArgs = { inherit pkgs; };
          modules = [
            (import ./nixos.nix { inherit lib pkgs; })
            configuration
          ]
          ++ lib.optionals (clan != null) (lib.concatMap (s: s name) services);
        })
        config
        ;
      file = e: if e.text != null then e.text else e.source.text;
    in
    {
      problems = map (a: a.message) (lib.filter (a: !a.assertion) config.assertions);
      inherit (config) warnings;
      etc = lib.mapAttrs (_: file) config.environment.etc;
      firewall = {
        all = config.networking.firewall.allowedTCPPorts;
        interfaces = lib.mapAttrs (_: i: i.allowedTCPPorts) config.networking.firewall.interfaces;
      };
      services = config.systemd.services;
      checks = map (c: c.script) config.system.checks;
      inherit (config.clan.core) state;
      inherit (config.clan.core.vars) generators;
      prometheus = {
        inherit (config.services.prometheus)
          enable
          extraFlags
          port
          retentionTime
          rules
          globalConfig
          scrapeConfigs
          ;
        package = config.services.prometheus.package.name;
      };
      foreign = lib.attrNames (lib.filterAttrs (_: e: e.enable) config.services.prometheus.exporters);
      nginxStatusPage = config.services.nginx.statusPage;
      users = lib.attrNames config.users.users;
    };
in
lib.mapAttrs evaluate machines
