# Pure helpers of the modules: functions of settings, with nothing but nixpkgs' lib.
# Metrics, collectors, rules and ports are the program's business: it writes
# vocabulary.json (see nix/tests).
{ lib }:
let
  inherit (lib)
    concatLists
    filter
    filterAttrs
    hasInfix
    isAttrs
    isList
    isString
    mapAttrsToList
    optional
    ;
  vocabulary = builtins.fromJSON (builtins.readFile ./vocabulary.json);

  # Without what says nothing, so that another definition can say it.
  some = filterAttrs (_: v: v != null && v != [ ] && v != { });

  # An argument as systemd's ExecStart= takes it. One that needs no quotes stays as
  # it is, so that units can be read.
  execArg =
    s:
    let
      escaped = builtins.replaceStrings [ "%" "$" ] [ "%%" "$$" ] (toString s);
    in
    if
      builtins.match "[A-Za-z0-9_@%$+=:,./?&~^|{}()*[<>-]+]*" escaped != null && !(hasInfix "]" escaped)
    then
      escaped
    else
      builtins.toJSON escaped;

  # extraFlags as NixOS' modules take them, where systemd splits and unquotes, and
  # some programs take one dash for two: -name 'value' is the argument --name=value.
  plainFlag =
    flag:
    let
      parts = builtins.match "--?([a-z][a-z0-9._-]*)( +|=)(.*)" flag;
      lone = builtins.match "-([a-z][a-z0-9._-]+)" flag;
      unquoted =
        v:
        let
          inner = builtins.match "'([^']*)'|\"([^\"]*)\"" v;
        in
        if inner == null then v else lib.head (filter (i: i != null) inner);
    in
    if parts != null then
      "--${lib.head parts}=${unquoted (lib.last parts)}"
    else if lone != null then
      "--${lib.head lone}"
    else
      flag;

  # Attribute names as the flags of a program: true and false, a value, or a list for
  # a flag that may be repeated.
  toFlags =
    settings:
    concatLists (
      mapAttrsToList (
        name: value:
        if value == true then
          [ "--${name}" ]
        else if value == false then
          [ "--no-${name}" ]
        else
          map (v: "--${name}=${toString v}") (lib.toList value)
      ) settings
    );

  # Where a tree of settings holds a secret in clear text. Everybody on the machine
  # can read what is in settings, because it is in the store.
  isSecret =
    name: v:
    isString v
    && v != ""
    &&
      builtins.match "(.*_)?(password|token|secret|credentials|(access|api|consumer|private|routing|secret|service|user)_key)" name
      != null;
  holdsSecret =
    v:
    lib.any (pattern: builtins.match pattern v != null) [
      "[^\n]*://[^/ \n]*:[^/ \n]+@[^\n]*"
      "[^\n]*://[^\n]*[?&](access_token|api_?key|password|secret|token)=[^\n]*"
      "[^\n]*://hooks[.]slack[.]com/services/[^\n]*"
      ".*-----BEGIN [A-Z ]*PRIVATE KEY-----.*"
    ];
  # A package is a path in the store and not a tree: it contains itself.
  pastedSecrets =
    path: value:
    if lib.isDerivation value || value ? outPath then
      [ ]
    else if isAttrs value then
      concatLists (
        mapAttrsToList (
          name: v: if isSecret name v then [ "${path}.${name}" ] else pastedSecrets "${path}.${name}" v
        ) value
      )
    else if isList value then
      concatLists (lib.imap0 (i: pastedSecrets "${path}[${toString i}]") value)
    else
      optional (isString value && holdsSecret value) path;

  secretProblem =
    where: path: instead:
    "${where}: ${path}: everybody on the machine can read a secret in settings, because it is in the store; ${instead}";

  # What exporterType and the options beside it say, as definitions of `exporters`.
  # free are options of that exporter which have no declaration beside exporterType.
  typedSections =
    settings: free:
    let
      type = if settings.exporterType == null then "node" else settings.exporterType;
      collectors = if type == "node" || (settings.exporters.node or null) != null then "node" else type;
    in
    [
      { ${type} = free // some { inherit (settings) port; }; }
      { ${collectors} = some { inherit (settings) enabledCollectors disabledCollectors; }; }
    ];

  # The enabled exporters of a machine, as far as a server has to know them. The
  # exporter "node" brings "systemd" along.
  sections =
    settings: free:
    let
      given = typedSections settings free ++ [ (lib.mapAttrs (_: some) (some settings.exporters)) ];
      all = lib.zipAttrsWith (_: lib.foldl' (a: b: a // b) { }) given;
      on = filterAttrs (_: s: s.enable or true);
    in
    on (lib.optionalAttrs ((on all) ? node) { systemd = { }; } // all);

  # The jobs that discovery makes.
  discoveredJobs =
    settings: methods:
    let
      on = method: lib.elem method methods;
      inherit (settings.tailscale) jobs;
    in
    lib.optionals (on "dns") (lib.attrNames settings.dnsDiscovery)
    ++ lib.optionals (on "static") (lib.attrNames settings.staticTargets)
    ++ lib.optionals (on "inventory" || (on "tailscale" && jobs == [ ])) (
      lib.attrNames vocabulary.ports
    )
    ++ lib.optionals (on "tailscale") (
      map (j: lib.head (lib.splitString ":" (lib.head (lib.splitString "@" j)))) jobs
    );
in
{
  inherit
    discoveredJobs
    vocabulary
    some
    execArg
    plainFlag
    toFlags
    pastedSecrets
    secretProblem
    typedSections
    sections
    ;
}
