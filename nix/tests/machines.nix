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
  # Whether the machine that builds can run them.
  canExecute ? true,
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
        override = _: self;
        overrideAttrs = _: self;
        passthru.tests.self = self;
        meta.mainProgram = name;
        __toString = _: outPath;
      };
    in
    self;
  platform.canExecute = _: canExecute;
  # Files are for the tests to write: their text is found by their path.
  file =
    name: text:
    package name "/nix/store/${builtins.hashString "md5" text}-${name}" // { inherit text; };
  pkgs = {
    inherit pkgs;
    callPackage =
      _: _:
      package "clanmon" program
      // {
        exporter = package "clanmon-exporter" program;
        prometheus = package "prometheus" program // {
          cli = package "promtool" program;
        };
      };
    concatText = name: files: package name "/nix/store/${name}?${lib.concatStringsSep "," files}";
    runCommand =
      name: _: script:
      package name "/nix/store/${name}" // { inherit script; };
    stdenv.buildPlatform = platform;
    stdenv.hostPlatform = platform;
    runtimeShell = "/bin/sh";
    writeText = file;
    coreutils = package "coreutils" "/usr";
    openssl = package "openssl" "/nix/store/openssl";
    postgresql = package "postgresql" "/nix/store/postgresql";
    prometheus = package "prometheus" "/nix/store/prometheus";
  };

  # What clan-core makes of an inventory.
  clanLib.getPublicValue =
    {
      machine,
      generator,
      file,
      default,
      ...
    }:
    clan.vars.${machine}.${generator}.${file} or default;
  clanLib.parseScope =
    key:
    let
      part = builtins.elemAt (lib.splitString ":" key);
    in
    {
      serviceName = part 0;
      instanceName = part 1;
      roleName = part 2;
      machineName = part 3;
    };
  member =
    role: tags: name:
    (role.machines or { }) ? ${name}
    || lib.any (t: t == "all" || lib.elem t tags) (lib.attrNames (role.tags or { }));
  service =
    file:
    let
      own = lib.filterAttrs (_: i: i.module.name == file) clan.instances;
      config.instances = lib.mapAttrs (_: instance: {
        roles = lib.mapAttrs (roleName: role: {
          machines = lib.mapAttrs (name: tags: {
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
          }) (lib.filterAttrs (name: tags: member role tags name) clan.machines);
        }) instance.roles;
      }) own;
      value = import (../service + "/${file}.nix") {
        inherit lib config clanLib;
        directory = ./.;
      };
      meta.domain = clan.domain or "clan";
      instancesOf =
        name:
        lib.concatLists (
          lib.mapAttrsToList (
            instanceName: instance:
            lib.concatLists (
              lib.mapAttrsToList (
                roleName: role:
                lib.optional (role.machines ? ${name}) (
                  value.roles.${roleName}.perInstance {
                    inherit instanceName meta;
                    machine = { inherit name; };
                    exports = clan.exports or { };
                    mkExports = e: e;
                    settings = role.machines.${name}.finalSettings.config;
                    roles = lib.mapAttrs (_: r: {
                      machines = lib.mapAttrs (_: m: { settings = m.finalSettings.config; }) r.machines;
                    }) instance.roles;
                  }
                )
              ) instance.roles
            )
          ) config.instances
        );
      onMachine =
        name:
        value.perMachine {
          machine = { inherit name; };
          inherit meta;
          instances = throw "not used";
        };
    in
    name: map (e: e.nixosModule) (instancesOf name ++ lib.optional (own != { }) (onMachine name));
  services = map service [
    "clanmon"
    "prometheus"
  ];

  evaluate =
    name: configuration:
    let
      inherit
        (lib.evalModules {
          specialArgs = { inherit lib pkgs; };
          modules = [
            (import ./nixos.nix { inherit lib pkgs; })
            configuration
          ]
          ++ lib.optionals (clan != null) (lib.concatMap (s: s name) services);
        })
        config
        ;
      text = e: if e.text != null then e.text else e.source.text or e.source;
    in
    {
      problems = map (a: a.message) (lib.filter (a: !a.assertion) config.assertions);
      inherit (config) warnings;
      etc = lib.mapAttrs (_: text) config.environment.etc;
      firewall = {
        all = config.networking.firewall.allowedTCPPorts;
        interfaces = lib.mapAttrs (_: i: i.allowedTCPPorts) config.networking.firewall.interfaces;
      };
      services = config.systemd.services;
      sockets = config.systemd.sockets;
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
          ruleFiles
          remoteWrite
          alertmanagers
          checkConfig
          ;
        package = config.services.prometheus.package.name;
      };
      foreign = lib.attrNames (lib.filterAttrs (_: e: e.enable) config.services.prometheus.exporters);
      grafana = {
        inherit (config.services.grafana.provision) enable;
        inherit (config.services.grafana.provision.datasources.settings) datasources;
        inherit (config.services.grafana.provision.dashboards.settings) providers;
      };
      nginxStatusPage = config.services.nginx.statusPage;
      users = lib.attrNames config.users.users;
    };
in
lib.mapAttrs evaluate machines
