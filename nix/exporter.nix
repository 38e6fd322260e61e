# Settings of the exporter role → kinds of exporter, their flags, and what is wrong.
{
  lib,
  vocabulary,
  kinds,
  plainFlag,
  toFlags,
  pastedSecrets,
  interfaceProblems,
}:
let
  inherit (lib)
    attrNames
    concatLists
    concatMap
    concatStringsSep
    elem
    filter
    filterAttrs
    isAttrs
    isList
    mapAttrs
    mapAttrsToList
    optional
    optionals
    ;
  list = concatStringsSep ", ";

  # Options of the role itself; whatever else is there belongs to the exporter that
  # exporterType names.
  own = [
    "_module"
    "availability"
    "disabledCollectors"
    "enabledCollectors"
    "exporterType"
    "exporters"
    "host"
    "interfaces"
    "openFirewall"
    "port"
    "tags"
  ];

  # What an exporter's section may hold, in the words of NixOS' exporters where they
  # have one.
  common = [
    "enable"
    "extraFlags"
    "implied"
    "openings"
    "listenAddress"
    "openFirewall"
    "interfaces"
    "port"
    "settings"
    "telemetryPath"
    "where"
  ];
  special = {
    node = [
      "disabledCollectors"
      "enabledCollectors"
    ];
    systemd = [ ];
    nginx = [
      "constLabels"
      "scrapeUri"
      "sslVerify"
    ];
    postgres = [
      "dataSourceName"
      "dsnFile"
      "environmentFile"
      "runAsLocalSuperUser"
    ];
    redis = [
      "addr"
      "passwordFile"
    ];
  };
  # What NixOS' exporters have and clanmon has another way for.
  instead = {
    firewallFilter = "use `interfaces`, which is right with iptables and nftables";
    firewallRules = "use `interfaces`, which is right with iptables and nftables";
    user = "all exporters run as clanmon-exporter, in one process";
    group = "all exporters run as clanmon-exporter, in one process";
  };

  # What an option of a section has to be, as no type says it.
  shapes =
    let
      strings = v: isList v && lib.all lib.isString v;
      text = v: lib.isString v || builtins.isPath v || v ? outPath;
      is = shape: valid: names: lib.genAttrs names (_: { inherit shape valid; });
    in
    is ''a list of strings, [ "…" ]'' strings [
      "constLabels"
      "disabledCollectors"
      "enabledCollectors"
      "extraFlags"
      "interfaces"
    ]
    // is "true or false" builtins.isBool [
      "openFirewall"
      "runAsLocalSuperUser"
      "sslVerify"
    ]
    // is ''a string, "…"'' text [
      "addr"
      "dataSourceName"
      "dsnFile"
      "environmentFile"
      "listenAddress"
      "passwordFile"
      "scrapeUri"
      "telemetryPath"
    ]
    // is "flags by their names, { … }" isAttrs [ "settings" ];
  misshapen = name: v: v != null && shapes ? ${name} && !(shapes.${name}.valid v);

  # Exporters that NixOS has and clanmon has not.
  others = [
    "blackbox"
    "domain"
    "json"
    "snmp"
  ];

  nothing = v: v == null || v == [ ] || v == { } || v == false;

  # Words for collectors → upstream's names; those that nobody knows.
  expand =
    words:
    let
      known = w: elem w vocabulary.collectors || vocabulary.words ? ${w};
    in
    {
      names = lib.unique (
        concatMap (w: if elem w vocabulary.collectors then [ w ] else vocabulary.words.${w} or [ ]) words
      );
      unknown = filter (w: !(known w)) words;
    };

  # The kinds that settings ask for, each with its section: { node = { port = 9100; … }; }.
  # foreign are sections of exporters that are not in clanmon, for NixOS' own.
  sections =
    {
      where,
      settings,
      # Whether options of NixOS' exporters that clanmon has not are worth a warning only.
      lenient ? false,
    }:
    let
      free = removeAttrs settings own;
      type = if settings.exporterType != null then settings.exporterType else "node";
      flat.${type} = free // lib.optionalAttrs (settings.port != null) { inherit (settings) port; };
      collectors = filterAttrs (_: v: v != [ ]) {
        inherit (settings) enabledCollectors disabledCollectors;
      };
      named = mapAttrs (_: filterAttrs (n: v: n != "_module" && !(n == "port" && v == null))) settings.exporters;
      # What stands beside exporterType and in exporters.<type> adds up.
      given =
        t: lib.optional (t == "node") collectors ++ [ (flat.${t} or { }) ] ++ [ (named.${t} or { }) ];
      contradictions = concatLists (
        map (
          t:
          map
            (
              n:
              "${where}: exporters.${t}.${n} is ${builtins.toJSON named.${t}.${n}}, and ${n} beside exporterType ${builtins.toJSON flat.${t}.${n}}; say it once"
            )
            (
              filter (
                n:
                n != "enable"
                && named.${t} ? ${n}
                && !(isList named.${t}.${n} || isAttrs named.${t}.${n})
                && named.${t}.${n} != flat.${t}.${n}
              ) (attrNames flat.${t})
            )
        ) (filter (t: named ? ${t}) (attrNames flat))
      );
      both = lib.genAttrs (lib.unique (attrNames flat ++ attrNames named)) (
        t:
        let
          section = lib.zipAttrsWith (
            _: vs:
            if isList (lib.head vs) then
              concatLists vs
            else if isAttrs (lib.head vs) then
              lib.foldl' (a: b: a // b) { } vs
            else
              lib.last vs
          ) (map (filterAttrs (n: v: !(elem t kinds && misshapen n v))) (given t));
        in
        section
        // {
          where = section.where or where;
          openFirewall = section.openFirewall or settings.openFirewall;
          interfaces = section.interfaces or settings.interfaces;
        }
      );
      # node brings the units of the machine along.
      all =
        lib.optionalAttrs (both ? node && (both.node.enable or true)) {
          systemd = {
            inherit (both.node) where openFirewall interfaces;
            implied = true;
          };
        }
        // both;
      on = filterAttrs (t: s: (s.enable or true) && elem t (kinds ++ others)) all;
      mine = mapAttrs (kind: s: { port = vocabulary.ports.${kind}; } // s) (
        filterAttrs (t: _: elem t kinds) on
      );
    in
    {
      kinds = mine;
      foreign = mapAttrs (_: s: removeAttrs s [ "where" "interfaces" "openFirewall" "implied" "enable" ]) (
        filterAttrs (t: _: !(elem t kinds)) on
      );
      foreignFirewall = filterAttrs (t: _: !(elem t kinds)) on;
      problems =
        contradictions
        ++ interfaceProblems "${where}: interfaces" settings.interfaces
        ++ concatLists (
          mapAttrsToList (
            t: s: optionals (!misshapen "interfaces" (s.interfaces or null)) (interfaceProblems "${where}: exporters.${t}.interfaces" (s.interfaces or [ ]))
          ) named
        )
        ++ concatMap (
          t:
          concatMap (
            s:
            mapAttrsToList (
              n: v:
              "${where}: exporters.${t}.${n}: ${builtins.toJSON v} has to be ${shapes.${n}.shape}"
            ) (filterAttrs misshapen s)
          ) (given t)
        ) (filter (t: elem t kinds) (attrNames both))
        ++ map (
          t: "${where}: exporters.${t}: there is no such exporter; known are ${list (kinds ++ others)}"
        ) (filter (t: !(elem t (kinds ++ others))) (attrNames all))
        ++ optional (collectors != { } && !(both ? node)) (
          "${where}: ${list (attrNames collectors)}: only the exporter node has collectors, and it is not among ${list (attrNames both)}"
        )
        ++ concatLists (mapAttrsToList (sectionProblems lenient) mine);
      warnings = optionals lenient (
        concatLists (
          mapAttrsToList (
            kind: s:
            map (n: "${s.where}: exporters.${kind}.${n} has no effect: ${instead.${n}}") (
              filter (n: s.${n} or null != null) (attrNames instead)
            )
          ) mine
        )
      );
    };

  sectionProblems =
    lenient: kind: s:
    let
      path = "${s.where}: exporters.${kind}";
      known = common ++ special.${kind} ++ lib.optionals lenient (attrNames instead);
      unknown = filter (n: !(elem n known)) (attrNames (filterAttrs (_: v: v != null) s));
      words =
        option:
        map (
          w:
          "${s.where}: ${option}: there is no collector \"${w}\". Known are ${list (attrNames vocabulary.words)}; and node_exporter's: ${list vocabulary.collectors}"
        ) (expand (s.${option} or [ ])).unknown;
    in
    map (
      n:
      "${path}.${n}: "
      + (instead.${n} or "there is no such option; known are ${list (lib.sort (a: b: a < b) (lib.subtractLists ([ "implied" "openings" "where" ] ++ attrNames instead) known))}, and every flag of `clanmon exporter` by `settings`")
    ) unknown
    ++ concatMap words (
      optionals (kind == "node") [
        "enabledCollectors"
        "disabledCollectors"
      ]
    )
    ++ optional (!(builtins.isInt s.port && s.port > 0 && s.port < 65536)) (
      "${path}.port: ${builtins.toJSON s.port} is no port; it has to be a number between 1 and 65535"
    )
    ++ optional ((s.telemetryPath or "/metrics") != "/metrics") (
      "${path}.telemetryPath: metrics are at /metrics; servers would not find them elsewhere"
    )
    ++ map (p: "${s.where}: ${p}: a secret in settings can be read by everybody on the machine, in the store; name a file (dsnFile, passwordFile, environmentFile)") (
      pastedSecrets "exporters.${kind}" (
        removeAttrs s [ "where" ]
        // lib.optionalAttrs (builtins.match ".*password=.+" (s.dataSourceName or "") != null) {
          dataSourceName = "x://x:x@x";
        }
      )
    );

  # Two instances on one machine are one process: what both say of a kind has to be
  # the same, but for lists, which add up. all is a list of sections.
  merge =
    all:
    let
      bySaid = kind: filter (s: s ? ${kind}) all;
      one =
        kind:
        let
          candidates = map (s: s.${kind}) (bySaid kind);
          explicit = filter (s: !(s.implied or false)) candidates;
          chosen = if explicit == [ ] then [ (lib.head candidates) ] else explicit;
        in
        {
          value =
            lib.zipAttrsWith (
              _: vs: if isList (lib.head vs) then lib.unique (concatLists vs) else lib.head vs
            ) chosen
            // {
              openings = map (s: { inherit (s) openFirewall interfaces; }) candidates;
            };
          problems = concatLists (
            mapAttrsToList (
              name: vs:
              optional (
                name != "where"
                && name != "openFirewall"
                && !(isList (lib.head vs))
                && lib.any (v: v != lib.head vs) vs
              ) "exporters.${kind}.${name}: ${list (map builtins.toJSON (lib.unique vs))}, but there is one exporter ${kind} on a machine (${list (map (s: s.where) chosen)}); say the same in all instances, or leave it out in all but one"
            ) (lib.zipAttrs chosen)
          );
        };
      names = lib.unique (concatMap attrNames all);
      merged = lib.genAttrs names one;
    in
    {
      kinds = mapAttrs (_: m: m.value) merged;
      problems = concatLists (mapAttrsToList (_: m: m.problems) merged);
    };

  # Flags, credentials and environment of one kind.
  runs =
    kind: s:
    let
      collectors = expand (s.enabledCollectors or [ ]);
      off = expand (s.disabledCollectors or [ ]);
      address = s.listenAddress or "";
      bracketed = if lib.hasInfix ":" address && !(lib.hasPrefix "[" address) then "[${address}]" else address;
      given = name: s.${name} or null;
      has = name: !(nothing (given name));
    in
    {
      flags = [
        "--${kind}.listen-address=${bracketed}:${toString s.port}"
      ]
      ++ map (c: "--collector.${c}") collectors.names
      ++ map (c: "--no-collector.${c}") off.names
      ++ optional (has "scrapeUri") "--nginx.scrape-uri=${s.scrapeUri}"
      ++ optional ((given "sslVerify") == true) "--nginx.ssl-verify"
      ++ map (l: "--prometheus.const-label=${l}") (s.constLabels or [ ])
      ++ optional (has "dsnFile") "--postgres.dsn-file=%d/postgres-dsn"
      ++ optional (has "addr") "--redis.addr=${s.addr}"
      ++ optional (has "passwordFile") "--redis.password-file=%d/redis-password"
      ++ toFlags (s.settings or { })
      ++ map plainFlag (s.extraFlags or [ ]);
      environment = lib.optionalAttrs (has "dataSourceName") { DATA_SOURCE_NAME = s.dataSourceName; };
      environmentFiles = optional (has "environmentFile") s.environmentFile;
      credentials =
        optional (has "dsnFile") "postgres-dsn:${s.dsnFile}"
        ++ optional (has "passwordFile") "redis-password:${s.passwordFile}";
    };
in
{
  inherit
    sections
    merge
    expand
    others
    ;

  # The command line and the rest of a process that runs these kinds.
  process =
    all:
    let
      order = filter (k: all ? ${k}) [
        "node"
        "systemd"
        "nginx"
        "postgres"
        "redis"
      ];
      parts = map (k: runs k all.${k}) order;
    in
    {
      flags = [ "--exporter=${concatStringsSep "," order}" ] ++ concatMap (p: p.flags) parts;
      environment = lib.foldl' (a: p: a // p.environment) { } parts;
      environmentFiles = concatMap (p: p.environmentFiles) parts;
      credentials = concatMap (p: p.credentials) parts;
    };

  # Two listeners on one port.
  portProblems =
    taken:
    concatLists (
      mapAttrsToList (
        _: users:
        optional (builtins.length users > 1) (
          "${(lib.head users).where}: port ${toString (lib.head users).port} is wanted by ${concatStringsSep " and by " (map (u: u.what) users)}; give one of them another `port`"
        )
      ) (lib.groupBy (u: toString u.port) taken)
    );
}
