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
  shared = (import ../options.nix { inherit lib; }).exporter;
  units = import ./units.nix { inherit lib; };
  cfg = config.services.clanmon.exporter;
  user = "clanmon-exporter";
  looker = "clanmon-look";
  program = "${lib.getOutput "exporter" cfg.package}/bin/clanmon-exporter";
  where =
    if cfg.setBy == [ ] then
      "services.clanmon.exporter"
    else
      lib.concatStringsSep " and " (lib.unique cfg.setBy);

  kinds = lib.mapAttrs (
    kind: s: s // { port = if s.port == null then clanmon.vocabulary.ports.${kind} else s.port; }
  ) (lib.filterAttrs (_: s: s != null && s.enable) cfg.exporters);

  # Services of this machine, for exporters that name no address of their own.
  nginx = config.services.nginx.enable && kinds.nginx.scrapeUri == null;
  postgresql =
    config.services.postgresql.enable
    && kinds.postgres.dataSourceName == null
    && kinds.postgres.dsnFile == null
    && kinds.postgres.environmentFile == null;
  postgresPort = config.services.postgresql.settings.port or 5432;
  redisServers = lib.filterAttrs (_: s: s.enable) config.services.redis.servers;
  redisNames = lib.attrNames redisServers;
  redis =
    let
      listening = lib.filter (n: redisServers.${n}.port != 0) redisNames;
      s = redisServers.${lib.head (listening ++ redisNames)};
      bound = if s.bind == null then "127.0.0.1" else lib.head (lib.splitString " " s.bind);
      host =
        if
          lib.elem bound [
            "0.0.0.0"
            "*"
            "::"
          ]
        then
          "127.0.0.1"
        else
          bound;
    in
    {
      addr = if listening != [ ] then "redis://${host}:${toString s.port}" else "unix://${s.unixSocket}";
      groups = lib.optional (listening == [ ]) (s.group or s.user);
      passwordFile = if s.requirePassFile == null then null else toString s.requirePassFile;
    };
  localRedis = kinds.redis.addr == null && redisNames != [ ];
  redisAddr = if localRedis then redis.addr else kinds.redis.addr;
  redisPassword =
    if kinds.redis.passwordFile == null && localRedis then
      redis.passwordFile
    else
      kinds.redis.passwordFile;

  words = lib.concatMap (
    w: if lib.elem w clanmon.vocabulary.collectors then [ w ] else clanmon.vocabulary.words.${w}
  );
  optionalFlag = name: v: lib.optional (v != null) "--${name}=${toString v}";
  special = {
    node =
      s:
      map (c: "--collector.${c}") (lib.unique (words s.enabledCollectors))
      ++ map (c: "--no-collector.${c}") (lib.unique (words s.disabledCollectors));
    systemd = _: [ ];
    nginx =
      s:
      let
        port = config.services.nginx.defaultHTTPListenPort;
        # NixOS' status page is that of the host "localhost" only.
        local = "http://localhost${lib.optionalString (port != 80) ":${toString port}"}/nginx_status";
      in
      optionalFlag "nginx.scrape-uri" (if nginx then local else s.scrapeUri)
      ++ lib.optional (s.sslVerify == true) "--nginx.ssl-verify"
      ++ map (l: "--prometheus.const-label=${l}") s.constLabels;
    postgres = s: lib.optional (s.dsnFile != null) "--postgres.dsn-file=%d/postgres-dsn";
    redis =
      _:
      optionalFlag "redis.addr" redisAddr
      ++ lib.optional (redisPassword != null) "--redis.password-file=%d/redis-password";
    blackbox =
      s: optionalFlag "blackbox.config.file" s.configFile ++ map (t: "--blackbox.allow=${t}") s.allow;
  };
  flagsOf =
    kind: s:
    let
      bracketed =
        if s.listenAddress == null then
          ""
        else if lib.hasInfix ":" s.listenAddress && !(lib.hasPrefix "[" s.listenAddress) then
          "[${s.listenAddress}]"
        else
          s.listenAddress;
    in
    lib.optional listens "--${kind}.listen-address=${bracketed}:${toString s.port}"
    ++ special.${kind} s
    ++ clanmon.toFlags s.settings
    ++ map clanmon.plainFlag s.extraFlags;
  order = lib.filter (k: kinds ? ${k}) [
    "node"
    "systemd"
    "nginx"
    "postgres"
    "redis"
    "blackbox"
  ];
  # The small program lacks this exporter, whose packages are larger than those of all others.
  probes = kinds ? blackbox;
  args = [
    "--exporter=${lib.concatStringsSep "," order}"
  ]
  ++ lib.concatMap (k: flagsOf k kinds.${k}) order
  ++ lib.optional cfg.tls.enable "--web.config.file=/etc/clanmon/exporter-web.json"
  ++ lib.optionals cfg.look.enable (
    [ "--look" ] ++ map (n: "--look.from=${n}") cfg.look.from ++ lookUnits
  )
  ++ map (u: "--push=${u}") cfg.push.servers
  ++ lib.optional (
    pushes && cfg.push.caFile == null && cfg.push.tokenFile != null
  ) "--push.token-file=%d/push-token"
  ++ lib.optional (
    pushes && cfg.push.caFile != null
  ) "--push.config.file=/etc/clanmon/exporter-push.json"
  ++ lib.optionals keepsHistory (
    # What waits to be pushed is kept for 48h unless something else is said.
    lib.optional (cfg.history.keep != null || !pushes) (
      "--history=${if cfg.history.keep == null then "24h" else cfg.history.keep}"
    )
    ++ [ "--history.path=/var/lib/clanmon-exporter/history" ]
    ++ lib.optional (cfg.history.maxBytes != null) "--history.max-bytes=${cfg.history.maxBytes}"
  )
  ++ cfg.extraFlags;
  pushes = cfg.push.servers != [ ];
  listens = !pushes || cfg.push.keepPorts;
  keepsHistory = pushes || cfg.history.enable == true;
  lookUnits = map (u: "--look.units=${u}") cfg.look.units;

  # What is said of a deploy. Machines that are deployed together say the same, and are one change.
  notes = cfg.noteDeploys;
  revision = config.system.configurationRevision or null;
  short =
    builtins.substring 0 7 revision
    + lib.optionalString (lib.hasSuffix "-dirty" revision) "-dirty";
  deployed =
    "NixOS ${config.system.nixos.label} deployed"
    + lib.optionalString (revision != null) ", rev ${short}";

  dataSourceName =
    if postgresql && postgresPort != 5432 then
      "host=/run/postgresql port=${toString postgresPort} user=${user} dbname=postgres sslmode=disable"
    else
      kinds.postgres.dataSourceName;
  credential = name: "/run/credentials/clanmon-exporter.service/${name}";
  when = kind: v: lib.optionals (kinds ? ${kind}) v;

  secrets =
    lib.concatLists (lib.mapAttrsToList (kind: s: clanmon.pastedSecrets "exporters.${kind}" s) kinds)
    ++ lib.optional (
      kinds ? postgres
      && kinds.postgres.dataSourceName != null
      && builtins.match ".*password=.+" kinds.postgres.dataSourceName != null
    ) "exporters.postgres.dataSourceName";
  # NixOS' own exporters on the same ports.
  foreign = lib.filterAttrs (
    k: s:
    let
      own = config.services.prometheus.exporters.${k};
    in
    own.enable && own.port == s.port
  ) kinds;

  file =
    description:
    mkOption {
      type = types.nullOr types.path;
      default = null;
      inherit description;
    };
in
{
  imports = [ ./common.nix ];

  options.services.clanmon.exporter = shared // {
    enable = lib.mkEnableOption "clanmon's exporters";
    package = mkOption {
      type = types.package;
      default = config.services.clanmon.package;
      defaultText = lib.literalExpression "config.services.clanmon.package";
      description = "The package whose output `exporter` runs.";
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
      description = "Addresses that the unit may exchange packets with. By default the firewall alone decides.";
    };
    extraFlags = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "Extra command line flags of `clanmon exporter`.";
    };
    tls = {
      enable = lib.mkEnableOption "HTTPS, with responses only to clients that have a certificate of this authority";
      caFile = file "Certificates of the authorities whose client certificates are accepted.";
      certFile = file "Certificate of this machine.";
      keyFile = file "Private key of this machine; only root has to be able to read it.";
      allowedNames = mkOption {
        type = types.listOf types.str;
        default = [ ];
        description = "Names of which a client's certificate needs one; empty is any.";
      };
    };
    push = {
      servers = mkOption {
        type = types.listOf types.str;
        default = [ ];
        example = [ "https://hub.example.org:9090" ];
        description = "URLs of servers, or of receivers of remote write, to which this machine sends what it gathers. See docs/push.md.";
      };
      tokenFile = file "File with the token by which this machine proves its name; only root has to be able to read it. The tailnet needs none.";
      caFile = file "Certificates of the authorities of the servers' certificates, instead of the system's.";
      keepPorts = lib.mkEnableOption "the ports of the exporters too, for a server that can scrape this machine at times";
    };
    machineName = mkOption {
      type = types.str;
      default = config.networking.hostName;
      internal = true;
      description = "Name of this machine in metrics.";
    };
    setBy = mkOption {
      type = types.listOf types.str;
      default = [ ];
      internal = true;
      description = "Clan instances that set these options, for messages. They open the ports themselves.";
    };
  };

  config = mkIf cfg.enable {
    services.clanmon.exporter.exporters = lib.mkMerge [
      # What exporterType and the options beside it say.
      (lib.genAttrs (lib.attrNames clanmon.vocabulary.ports) (
        kind:
        mkIf (cfg.setBy == [ ] && kind == (if cfg.exporterType == null then "node" else cfg.exporterType)) (
          clanmon.some { inherit (cfg) port enabledCollectors disabledCollectors; }
        )
      ))
      { systemd = mkIf (cfg.exporters.node.enable or false) (lib.mkDefault { }); }
    ];

    services.clanmon.ports = lib.optionals (cfg.setBy == [ ] && listens) (
      lib.mapAttrsToList (kind: s: {
        inherit where;
        what = "the exporter ${kind}";
        inherit (s) port;
        openFirewall = if s.openFirewall == null then cfg.openFirewall else s.openFirewall;
        interfaces = if s.interfaces == [ ] then cfg.interfaces else s.interfaces;
      }) kinds
    );

    assertions =
      lib.mapAttrsToList (k: s: {
        assertion = false;
        message = "${where}: exporters.${k}: services.prometheus.exporters.${k}.enable runs another exporter on port ${toString s.port}; set it to false, or give one of them another port";
      }) foreign
      ++ map (p: {
        assertion = false;
        message = clanmon.secretProblem where p "use a file (dsnFile, passwordFile, environmentFile)";
      }) secrets
      ++ [
        {
          # Clan's files do not exist before `clan vars generate`.
          assertion =
            !cfg.tls.enable
            || cfg.setBy != [ ]
            || (cfg.tls.caFile != null && cfg.tls.certFile != null && cfg.tls.keyFile != null);
          message = "${where}: tls.enable needs tls.caFile, tls.certFile and tls.keyFile";
        }
        {
          assertion = !(cfg.look.enable && !listens);
          message = "${where}: look.enable needs a port, and with push.servers none is open: set push.keepPorts";
        }
        {
          assertion = !notes.enable || notes.server != null;
          message = "${where}: noteDeploys.enable needs noteDeploys.server: the URL of the server, such as http://hub:9090";
        }
        {
          assertion =
            !cfg.look.enable || cfg.look.from != [ ] || (cfg.tls.enable && cfg.tls.allowedNames != [ ]);
          message = "${where}: look.enable: servers have to prove who they are: set tls.enable on the server (without clan: tls.enable and tls.allowedNames here), or name nodes of the tailnet in look.from";
        }
      ];
    warnings = lib.optional (kinds ? redis && localRedis && lib.length redisNames > 1) (
      "${where}: exporters.redis.addr: this machine has several Redis servers (${lib.concatStringsSep ", " redisNames}); only ${redis.addr} is watched"
    );

    users.users = {
      ${user} = {
        isSystemUser = true;
        group = user;
        description = "clanmon exporter";
      };
    }
    // lib.optionalAttrs cfg.look.enable {
      ${looker} = {
        isSystemUser = true;
        group = looker;
        description = "clanmon look";
      };
    };
    users.groups = {
      ${user} = { };
    }
    // lib.optionalAttrs cfg.look.enable { ${looker} = { }; };

    environment.etc."clanmon/exporter-web.json" = mkIf cfg.tls.enable {
      text = builtins.toJSON {
        tls_server_config = {
          cert_file = credential "tls-cert";
          key_file = credential "tls-key";
          client_ca_file = credential "tls-ca";
          client_auth_type = "RequireAndVerifyClientCert";
        }
        // clanmon.some { client_allowed_sans = cfg.tls.allowedNames; };
      };
    };

    environment.etc."clanmon/exporter-push.json" = mkIf (pushes && cfg.push.caFile != null) {
      text = builtins.toJSON (
        {
          tls_config.ca_file = credential "push-ca";
        }
        // lib.optionalAttrs (cfg.push.tokenFile != null) {
          authorization.credentials_file = credential "push-token";
        }
      );
    };

    systemd.services.clanmon-exporter = units.exporter {
      program = if probes then lib.getExe cfg.package else program;
      args = lib.optional probes "exporter" ++ args;
      inherit user;
      stateDirectory = lib.optionalString keepsHistory "clanmon-exporter";
      # It probes what it is allowed to, wherever that is.
      allowedAddresses = if probes then "any" else cfg.allowedAddresses;
      environment = lib.optionalAttrs (kinds ? postgres && dataSourceName != null) {
        DATA_SOURCE_NAME = dataSourceName;
      };
      environmentFiles = when "postgres" (
        lib.optional (kinds.postgres.environmentFile != null) kinds.postgres.environmentFile
      );
      # node asks logind and systemd for these two, tailscaled for its facts.
      needsBus =
        kinds ? systemd || lib.elem "--collector.systemd" args || lib.elem "--collector.logind" args;
      needsTailscale = kinds ? node || cfg.look.from != [ ];
      credentials =
        when "postgres" (
          lib.optional (kinds.postgres.dsnFile != null) "postgres-dsn:${kinds.postgres.dsnFile}"
        )
        ++ when "redis" (lib.optional (redisPassword != null) "redis-password:${redisPassword}")
        ++ lib.optional (pushes && cfg.push.tokenFile != null) "push-token:${cfg.push.tokenFile}"
        ++ lib.optional (pushes && cfg.push.caFile != null) "push-ca:${cfg.push.caFile}"
        ++ lib.optionals cfg.tls.enable [
          "tls-ca:${cfg.tls.caFile}"
          "tls-cert:${cfg.tls.certFile}"
          "tls-key:${cfg.tls.keyFile}"
        ];
      groups = when "redis" (lib.optionals localRedis redis.groups);
      after =
        when "nginx" (lib.optional nginx "nginx.service")
        ++ when "postgres" (lib.optional postgresql "clanmon-exporter-postgresql.service")
        ++ when "redis" (map (n: if n == "" then "redis.service" else "redis-${n}.service") redisNames);
    };

    systemd.sockets.clanmon-look = mkIf cfg.look.enable {
      description = "Requests for the journal and processes, from clanmon exporter";
      documentation = [ "https://github.com/clanmon/clanmon" ];
      wantedBy = [ "sockets.target" ];
      socketConfig = {
        ListenStream = "/run/clanmon-look.sock";
        SocketMode = "0660";
        SocketGroup = user;
      };
    };
    systemd.services.clanmon-look = mkIf cfg.look.enable (
      units.look {
        inherit program;
        user = looker;
        args = lookUnits;
      }
    );

    systemd.services.clanmon-note-deploy = mkIf (notes.enable && notes.server != null) (
      units.noteDeploy {
        inherit program deployed;
        inherit (notes) server;
        machine = cfg.machineName;
        credentials =
          lib.optionalAttrs (notes.httpConfigFile != null) { "http.config.file" = notes.httpConfigFile; }
          // lib.optionalAttrs (
            notes.httpConfigFile == null && cfg.tls.enable && lib.hasPrefix "https:" notes.server
          ) { ca-file = cfg.tls.caFile; };
      }
    );

    services.nginx.statusPage = mkIf (kinds ? nginx && nginx) (lib.mkDefault true);

    # The exporter's user may read PostgreSQL's statistics, and nothing else.
    systemd.services.clanmon-exporter-postgresql = mkIf (kinds ? postgres && postgresql) {
      description = "PostgreSQL role of clanmon's exporter";
      wantedBy = [ "multi-user.target" ];
      requires = [ "postgresql.service" ];
      after = [ "postgresql.service" ];
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        User = config.services.postgresql.superUser;
        Environment = "PGPORT=${toString postgresPort}";
      };
      path = [ (config.services.postgresql.finalPackage or config.services.postgresql.package) ];
      script = ''
        [ "$(psql -d postgres -tAc "SELECT 1 FROM pg_roles WHERE rolname = '${user}'")" = 1 ] || psql -d postgres -c 'CREATE ROLE "${user}" LOGIN'
        psql -d postgres -c 'GRANT pg_monitor TO "${user}"'
      '';
    };

    system.checks = lib.optional config.services.clanmon.checkConfig (
      pkgs.runCommand "clanmon-exporter-checked" { } ''
        ${lib.getExe cfg.package} check flags exporter -- ${
          lib.escapeShellArgs (
            lib.filter (a: !(lib.hasInfix "%d/" a || lib.hasPrefix "--web.config.file" a)) args
          )
        }
        touch $out
      ''
    );
  };
}
