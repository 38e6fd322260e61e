# Settings of the server role → the clan's settings file, the inventory, flags, and
# what is wrong.
{
  lib,
  vocabulary,
  kinds,
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
    mapAttrs
    mapAttrsToList
    optional
    optionals
    ;
  list = concatStringsSep ", ";

  # Options of the role itself; everything else is for services.prometheus.
  own = [
    "_module"
    "additionalScrapeConfigs"
    "alertmanagerConfig"
    "builtinRules"
    "discoveryMethod"
    "dnsDiscovery"
    "enableAutoDiscovery"
    "heartbeat"
    "interfaces"
    "notify"
    "openFirewall"
    "staticTargets"
    "tailscale"
    "tls"
  ];

  # The parameter of a notify URL that names the file with the secret.
  secretParameter =
    url:
    let
      scheme = lib.head (lib.splitString ":" url);
    in
    {
      mailto = "password_file";
      slack = "url_file";
      webhook = "url_file";
    }
    .${scheme} or "token_file";

  methods =
    settings: hasExporters:
    let
      given = settings.discoveryMethod;
    in
    if !settings.enableAutoDiscovery then
      [ ]
    else if given == null then
      optional hasExporters "inventory"
    else
      filter (m: m != "none") (lib.toList given);

  # The jobs that discovery makes.
  foundJobs =
    { settings, methods }:
    let
      on = m: elem m methods;
    in
    optionals (on "dns") (attrNames settings.dnsDiscovery)
    ++ optionals (on "static") (attrNames settings.staticTargets)
    ++ optionals (on "inventory") (attrNames vocabulary.ports)
    ++ optionals (on "tailscale") (
      if settings.tailscale.jobs == [ ] then
        attrNames vocabulary.ports
      else
        map (j: lib.head (lib.splitString ":" (lib.head (lib.splitString "@" j)))) settings.tailscale.jobs
    );
in
{
  inherit
    own
    methods
    foundJobs
    secretParameter
    ;

  # What machines the clan has, in the format of the method "inventory": exporters
  # is a list of { machine; host; tags; availability; kinds; }.
  inventory = exporters: {
    machines = mapAttrs (
      _: entries:
      {
        addresses = lib.unique (map (e: e.host) entries);
        availability =
          if lib.any (e: e.availability == "intermittent") entries then "intermittent" else "always";
        exporters = mapAttrs (_: s: s.port) (lib.foldl' (a: e: e.kinds // a) { } entries);
        tags = lib.unique (concatMap (e: e.tags) entries);
      }
    ) (lib.groupBy (e: e.machine) (filter (e: e.kinds != { }) exporters));
  };

  # The file of --clan.settings.
  settingsFile =
    {
      settings,
      methods,
      inventoryFile,
      tls ? null,
    }:
    let
      use = method: v: lib.optionalAttrs (elem method methods) v;
      some = filterAttrs (_: v: v != null && v != [ ] && v != { });
    in
    {
      discoveryMethod = if methods == [ ] then "none" else methods;
    }
    // use "dns" { dnsDiscovery = mapAttrs (_: some) settings.dnsDiscovery; }
    // use "static" { inherit (settings) staticTargets; }
    // use "inventory" { inherit inventoryFile; }
    // use "tailscale" (some { tailscale = some settings.tailscale; })
    // lib.optionalAttrs (settings.additionalScrapeConfigs != [ ]) {
      inherit (settings) additionalScrapeConfigs;
    }
    // lib.optionalAttrs (tls != null) { inherit tls; };

  # Flags beside --clan.settings. credential gives the path of a credential.
  flags =
    { settings, credential }:
    let
      withSecret =
        name: n:
        let
          separator = if lib.hasInfix "?" n.url then "&" else "?";
        in
        if n.secret || n.secretFile != null then
          "${n.url}${separator}${secretParameter n.url}=${credential "notify-${name}"}"
        else
          n.url;
      rules = settings.builtinRules;
    in
    mapAttrsToList (name: n: "--notify=${withSecret name n}") settings.notify
    ++ optional (settings.heartbeat.secret || settings.heartbeat.secretFile != null) (
      "--notify.heartbeat-url-file=${credential "heartbeat"}"
    )
    ++ optional (rules.enable != null) "--rules.builtin=${if rules.enable then "on" else "off"}"
    ++ map (r: "--rules.disable=${r}") rules.disable
    ++ concatLists (
      mapAttrsToList (
        rule: changes: mapAttrsToList (
          # toString writes 0.05 as 0.050000.
          name: v: "--rules.set=${rule}.${name}=${if builtins.isFloat v then builtins.toJSON v else toString v}"
        ) changes
      ) rules.set
    );

  # Credentials beside those of TLS. generated gives the file of a secret that clan
  # keeps, by its name.
  credentials =
    { settings, generated }:
    concatLists (
      mapAttrsToList (
        name: n:
        optional (n.secretFile != null) "notify-${name}:${n.secretFile}"
        ++ optional (n.secret && n.secretFile == null) "notify-${name}:${generated "notify-${name}"}"
      ) settings.notify
    )
    ++ optional (settings.heartbeat.secretFile != null) "heartbeat:${settings.heartbeat.secretFile}"
    ++ optional (settings.heartbeat.secret && settings.heartbeat.secretFile == null) (
      "heartbeat:${generated "heartbeat"}"
    );

  problems =
    {
      where,
      settings,
      methods,
      hasExporters,
      # Names of the jobs in Prometheus' own configuration.
      otherJobs ? [ ],
      # What this machine has: { tailscale = true; }.
      has,
      # Whether a secret in clear text is worth a warning only.
      lenient ? false,
    }:
    let
      free = removeAttrs settings own;
      on = m: elem m methods;
      noPort = job: target: !(vocabulary.ports ? ${job}) && builtins.match ".*[^:]:[0-9]+" target == null;
      jobs = configs: map (c: c.job_name or null) configs;
      wanted = settings.additionalScrapeConfigs;
      extraJobs = filter (j: j != null) (jobs wanted) ++ otherJobs;
      made = foundJobs { inherit settings methods; };
      secrets =
        concatLists (
          mapAttrsToList pastedSecrets (
            free
            // {
              inherit (settings) alertmanagerConfig;
              additionalScrapeConfigs = wanted;
            }
          )
        )
        ++ concatLists (
          mapAttrsToList (
            name: n:
            optional (
              builtins.match ".*[?&](token|password)=.*" n.url != null
              || builtins.match "[a-z+]*://[^/]*@.*" n.url != null
              || builtins.match ".*hooks[.]slack[.]com/services/.*" n.url != null
            ) "notify.${name}.url"
          ) settings.notify
        );
      secretMessage =
        p:
        "${where}: ${p}: a secret in settings can be read by everybody on the machine, in the store; "
        + (
          if lib.hasPrefix "notify." p then
            "leave it out and set `secret = true`, so that clan asks for it, or name its file by `secretFile`"
          else
            "name a file by the key that ends in _file"
        );
      rules = settings.builtinRules;
    in
    {
      problems =
        interfaceProblems "${where}: interfaces" settings.interfaces
        ++ optional (on "tailscale" && !has.tailscale && !lenient) (
          "${where}: discoveryMethod: \"tailscale\" asks the tailscaled of this machine, which has none: set services.tailscale.enable = true on it, or choose another method"
        )
        ++ optional (on "inventory" && !hasExporters) (
          "${where}: discoveryMethod: \"inventory\" needs machines with the role exporter, and there is none"
        )
        ++ optional (on "dns" && settings.dnsDiscovery == { }) (
          "${where}: discoveryMethod: \"dns\" needs names: dnsDiscovery.node.names = [ \"*.example.org\" ]"
        )
        ++ optional (on "static" && settings.staticTargets == { }) (
          "${where}: discoveryMethod: \"static\" needs machines: staticTargets.node = [ \"10.0.0.1\" ]"
        )
        ++ concatLists (
          mapAttrsToList (
            job: targets:
            map (
              t:
              "${where}: staticTargets.${job}: the target \"${t}\" has no port, and the job \"${job}\" has none of its own: write \"${t}:PORT\", or use one of the jobs ${list (attrNames vocabulary.ports)}"
            ) (filter (noPort job) targets)
          ) (lib.optionalAttrs (on "static") settings.staticTargets)
        )
        ++ concatLists (
          mapAttrsToList (
            job: d:
            optional (d.names == [ ]) "${where}: dnsDiscovery.${job}.names: name at least one DNS name"
            ++ optional
              (d.port == null && !(vocabulary.ports ? ${job}) && d.type != "SRV")
              "${where}: dnsDiscovery.${job}.port: the job \"${job}\" has no port of its own: set it, or use one of the jobs ${list (attrNames vocabulary.ports)}"
          ) (lib.optionalAttrs (on "dns") settings.dnsDiscovery)
        )
        ++ lib.imap0 (
          i: _:
          "${where}: additionalScrapeConfigs[${toString i}]: job_name is missing"
        ) (filter (c: !(c ? job_name)) wanted)
        ++ map (
          j: "${where}: additionalScrapeConfigs, scrapeConfigs: there are two jobs \"${j}\"; give each another job_name"
        ) (lib.unique (filter (j: lib.count (x: x == j) extraJobs > 1) extraJobs))
        ++ map (
          j:
          "${where}: additionalScrapeConfigs, scrapeConfigs: the job \"${j}\" is made by the discovery method ${list methods} already; give yours another job_name"
        ) (filter (j: elem j made) (lib.unique extraJobs))
        ++ concatMap (
          r:
          optional (!(vocabulary.rules ? ${r})) (
            "${where}: builtinRules: there is no rule \"${r}\"; known are ${list (attrNames vocabulary.rules)}"
          )
        ) (rules.disable ++ attrNames rules.set)
        ++ concatLists (
          mapAttrsToList (
            rule: changes:
            map (
              name:
              "${where}: builtinRules.set.${rule}.${name}: there is no such setting; known are ${list vocabulary.rules.${rule}}"
            ) (filter (n: !(elem n vocabulary.rules.${rule})) (attrNames changes))
          ) (filterAttrs (r: _: vocabulary.rules ? ${r}) rules.set)
        )
        ++ mapAttrsToList (
          name: _:
          "${where}: notify.${name}: the name becomes that of a file; use letters, digits, '_' and '-' only"
        ) (filterAttrs (name: _: builtins.match "[A-Za-z0-9_-]+" name == null) settings.notify)
        ++ optional (free ? configText && free.configText != null && methods != [ ] && !lenient) (
          "${where}: configText: it replaces the whole configuration; write what you need as scrapeConfigs and so on"
        )
        ++ optionals (!lenient) (map secretMessage secrets);
      warnings =
        optionals lenient (map secretMessage secrets)
        ++ optional (on "tailscale" && !has.tailscale && lenient) (
          "${where}: discoveryMethod: \"tailscale\" asks the tailscaled of this machine, which has none, so nothing is found: set services.tailscale.enable = true on it"
        )
        ++ concatMap
          (
            s:
            optional (s.given && settings.enableAutoDiscovery && !(on s.method)) (
              "${where}: ${s.option} has no effect while discoveryMethod does not name \"${s.method}\""
            )
          )
          [
            {
              option = "dnsDiscovery";
              method = "dns";
              given = settings.dnsDiscovery != { };
            }
            {
              option = "staticTargets";
              method = "static";
              given = settings.staticTargets != { };
            }
            {
              option = "tailscale";
              method = "tailscale";
              given = filterAttrs (_: v: v != null && v != [ ]) (removeAttrs settings.tailscale [ "_module" ]) != { };
            }
          ];
    };
}
