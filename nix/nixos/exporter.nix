# services.clanmon.exporter: the exporters of this machine, in one hardened unit.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkIf mkOption types;
  clanmon = import ../lib.nix { inherit lib; };
  cfg = config.services.clanmon.exporter;
  user = "clanmon-exporter";

  found = clanmon.exporter.sections {
    where = "services.clanmon.exporter";
    settings = removeAttrs cfg [
      "enable"
      "package"
      "allowedAddresses"
      "checked"
      "extraFlags"
      "tls"
    ];
  };

  # Services of this machine, where nothing else is said.
  nginx = config.services.nginx.enable or false;
  postgresql = config.services.postgresql.enable or false;
  redisServers = lib.filterAttrs (_: s: s.enable or false) (config.services.redis.servers or { });
  redis =
    let
      names = lib.attrNames redisServers;
      listening = lib.filter (n: (redisServers.${n}.port or 0) != 0) names;
      s = redisServers.${lib.head (listening ++ names)};
      bound = if (s.bind or null) == null then "127.0.0.1" else lib.head (lib.splitString " " s.bind);
      host = if lib.elem bound [ "0.0.0.0" "*" "::" ] then "127.0.0.1" else bound;
    in
    lib.optionalAttrs (names != [ ]) (
      if listening != [ ] then
        { addr = "redis://${host}:${toString s.port}"; }
      else if (s.unixSocket or null) != null then
        {
          addr = "unix://${s.unixSocket}";
          groups = [ s.group or s.user ];
        }
      else
        { }
    )
    // lib.optionalAttrs (names != [ ] && (s.requirePassFile or null) != null) {
      passwordFile = toString s.requirePassFile;
    };
  postgresPort = config.services.postgresql.settings.port or 5432;
  wire =
    kind: section:
    if kind == "redis" && !(section ? addr) then
      removeAttrs redis [ "groups" ] // section
    else if kind == "nginx" && nginx && !(section ? scrapeUri) then
      # NixOS' status page is that of the host "localhost" only.
      let
        port = config.services.nginx.defaultHTTPListenPort or 80;
      in
      {
        scrapeUri = "http://localhost${lib.optionalString (port != 80) ":${toString port}"}/nginx_status";
      }
      // section
    else if kind == "postgres" && localPostgres && postgresPort != 5432 then
      {
        dataSourceName = "host=/run/postgresql port=${toString postgresPort} user=${user} dbname=postgres sslmode=disable";
      }
      // section
    else
      section;
  kinds = lib.mapAttrs wire found.kinds;
  process = clanmon.exporter.process kinds;
  localPostgres =
    postgresql
    && found.kinds ? postgres
    && !(
      found.kinds.postgres ? dataSourceName
      || found.kinds.postgres ? dsnFile
      || found.kinds.postgres ? environmentFile
    );

  opened = lib.mapAttrsToList (
    kind: s:
    clanmon.openPort {
      inherit (s) where port;
      openings = s.openings or [ { inherit (s) openFirewall interfaces; } ];
      what = "exporter ${kind}";
      vpnInterfaces = clanmon.vpnInterfaces config;
    }
  ) kinds;
  foreign = lib.filterAttrs (_: s: s.enable or false) (
    lib.genAttrs clanmon.kinds (k: config.services.prometheus.exporters.${k} or { })
  );

  webConfig = builtins.toJSON (
    {
      tls_server_config = {
        cert_file = "/run/credentials/clanmon-exporter.service/tls-cert";
        key_file = "/run/credentials/clanmon-exporter.service/tls-key";
        client_ca_file = "/run/credentials/clanmon-exporter.service/tls-ca";
        client_auth_type = "RequireAndVerifyClientCert";
      }
      // lib.optionalAttrs (cfg.tls.allowedNames != [ ]) { client_allowed_sans = cfg.tls.allowedNames; };
    }
  );
  args =
    process.flags
    ++ lib.optional (cfg.tls != null) "--web.config.file=/etc/clanmon/exporter-web.json"
    ++ cfg.extraFlags;
in
{
  imports = [ ./common.nix ];

  options.services.clanmon.exporter = mkOption {
    default = { };
    description = "The exporters of clanmon.";
    type = types.submodule {
      imports = [ (import ../options.nix { inherit lib; }).exporter ];
      options = {
        enable = mkOption {
          type = types.bool;
          default = false;
          description = "Whether to run `clanmon exporter`.";
        };
        package = mkOption {
          type = types.package;
          default = config.services.clanmon.package;
          defaultText = lib.literalExpression "config.services.clanmon.package";
          description = "The package whose output `exporter` to run. Of the slim one it is the same.";
        };
        allowedAddresses = mkOption {
          type = types.listOf types.str;
          default = [
            "0.0.0.0/0"
            "::/0"
          ];
          example = [
            "localhost"
            "100.64.0.0/10"
          ];
          description = ''
            Addresses that the unit may exchange packets with, whatever the firewall says. By
            default the firewall alone decides.
          '';
        };
        extraFlags = mkOption {
          type = types.listOf types.str;
          default = [ ];
          description = "Flags of `clanmon exporter` beside those that follow from the other options.";
        };
        tls = mkOption {
          default = null;
          description = "Answer by HTTPS, and only those who have a certificate of this authority.";
          type = types.nullOr (
            types.submodule {
              options = {
                caFile = mkOption {
                  type = types.str;
                  description = "Certificates of the authority whose certificates a scraper needs.";
                };
                certFile = mkOption {
                  type = types.str;
                  description = "Certificate of this machine.";
                };
                keyFile = mkOption {
                  type = types.str;
                  description = "Key of this machine; root has to be able to read it, nobody else.";
                };
                allowedNames = mkOption {
                  type = types.listOf types.str;
                  default = [ ];
                  description = "Names of which a scraper's certificate has to have one; any if empty.";
                };
              };
            }
          );
        };
        # Set by the clan service, which has said what is wrong by instance and role.
        checked = mkOption {
          type = types.bool;
          default = false;
          internal = true;
          visible = false;
          description = "Whether the settings were checked already.";
        };
      };
    };
  };

  config = mkIf cfg.enable {
    assertions = map (message: {
      assertion = false;
      inherit message;
    }) (
      lib.optionals (!cfg.checked) found.problems
      ++ clanmon.exporter.portProblems (
        lib.mapAttrsToList (kind: s: {
          inherit (s) where port;
          what = "the exporter ${kind}";
        }) kinds
      )
      ++ lib.optionals (!cfg.checked) (
        map (
          t: "services.clanmon.exporter.exporters.${t}: clanmon has no such exporter; use services.prometheus.exporters.${t}"
        ) (lib.attrNames found.foreign)
      )
      ++ lib.mapAttrsToList (
        k: s:
        "${kinds.${k}.where}: exporters.${k}: services.prometheus.exporters.${k}.enable runs another exporter on port ${toString s.port}; set it to false, or give one of them another port"
      ) (lib.filterAttrs (k: s: kinds ? ${k} && (s.port or null) == kinds.${k}.port) foreign)
    );
    warnings =
      clanmon.closedWarnings config opened
      ++ lib.optionals (kinds ? redis && lib.length (lib.attrNames redisServers) > 1 && !(found.kinds.redis ? addr)) [
        "${kinds.redis.where}: exporters.redis.addr: this machine has several Redis servers (${lib.concatStringsSep ", " (lib.attrNames redisServers)}); only ${kinds.redis.addr} is watched"
      ];

    users.users.${user} = {
      isSystemUser = true;
      group = user;
      description = "clanmon exporter";
    };
    users.groups.${user} = { };

    environment.etc."clanmon/exporter-web.json" = mkIf (cfg.tls != null) { text = webConfig; };

    systemd.services.clanmon-exporter =
      (import ./units.nix { inherit lib; }).exporter {
        program = "${lib.getOutput "exporter" cfg.package}/bin/clanmon-exporter";
        inherit user args;
        inherit (process) environment environmentFiles;
        inherit (cfg) allowedAddresses;
        # node asks logind and systemd for these two, tailscaled for its facts.
        needsBus =
          kinds ? systemd || lib.elem "--collector.systemd" args || lib.elem "--collector.logind" args;
        needsTailscale = kinds ? node;
        credentials =
          process.credentials
          ++ lib.optionals (cfg.tls != null) [
            "tls-ca:${cfg.tls.caFile}"
            "tls-cert:${cfg.tls.certFile}"
            "tls-key:${cfg.tls.keyFile}"
          ];
        groups = lib.optionals (kinds ? redis && !(found.kinds.redis ? addr)) (redis.groups or [ ]);
        after =
          lib.optional (kinds ? nginx && nginx) "nginx.service"
          ++ lib.optional localPostgres "clanmon-exporter-postgresql.service"
          ++ lib.optionals (kinds ? redis) (
            map (n: if n == "" then "redis.service" else "redis-${n}.service") (lib.attrNames redisServers)
          );
      };

    services.nginx.statusPage = mkIf (kinds ? nginx && nginx && !(found.kinds.nginx ? scrapeUri)) (
      lib.mkDefault true
    );

    # The exporter's user may read PostgreSQL's statistics, and nothing else.
    systemd.services.clanmon-exporter-postgresql = mkIf localPostgres {
      description = "PostgreSQL role of clanmon's exporter";
      wantedBy = [ "multi-user.target" ];
      requires = [ "postgresql.service" ];
      after = [ "postgresql.service" ];
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        User = config.services.postgresql.superUser or "postgres";
        Environment = "PGPORT=${toString postgresPort}";
      };
      path = [ (config.services.postgresql.finalPackage or config.services.postgresql.package) ];
      script = ''
        [ "$(psql -d postgres -tAc "SELECT 1 FROM pg_roles WHERE rolname = '${user}'")" = 1 ] || psql -d postgres -c 'CREATE ROLE "${user}" LOGIN'
        psql -d postgres -c 'GRANT pg_monitor TO "${user}"'
      '';
    };

    networking.firewall = clanmon.firewall {
      nftables = config.networking.nftables.enable or false;
      inherit opened;
    };

    # A flag that does not exist fails the build, not the machine.
    system.checks = [
      (pkgs.runCommand "clanmon-exporter-checked" { } ''
        ${cfg.package}/bin/clanmon check flags exporter -- ${
          lib.escapeShellArgs (lib.filter (a: !(lib.hasInfix "%d/" a || lib.hasPrefix "--web.config.file" a)) args)
        }
        touch $out
      '')
    ];
  };
}
