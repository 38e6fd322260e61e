# A stand-in for the parts of nixpkgs' lib that our Nix files use, with a module
# system of its own, so that they can be evaluated where there is no nixpkgs: in CI,
# with Debian's nix-bin. It knows fewer types and words its errors in another way;
# tests/eval-tests.nix are the tests with the real ones.
let
  inherit (builtins)
    attrNames
    attrValues
    concatLists
    concatStringsSep
    elem
    elemAt
    filter
    foldl'
    genList
    head
    isAttrs
    isBool
    isFloat
    isFunction
    isInt
    isList
    isPath
    isString
    length
    listToAttrs
    map
    mapAttrs
    replaceStrings
    sort
    stringLength
    substring
    toJSON
    ;

  concatMap = f: l: concatLists (map f l);
  optional = c: v: if c then [ v ] else [ ];
  optionals = c: l: if c then l else [ ];
  optionalAttrs = c: s: if c then s else { };
  unique = foldl' (acc: x: if elem x acc then acc else acc ++ [ x ]) [ ];
  genAttrs =
    names: f:
    listToAttrs (
      map (name: {
        inherit name;
        value = f name;
      }) names
    );
  filterAttrs =
    pred: set: genAttrs (filter (n: pred n set.${n}) (attrNames set)) (n: set.${n});
  zipAttrsWith =
    f: sets:
    genAttrs (unique (concatMap attrNames sets)) (
      n: f n (concatMap (s: optional (s ? ${n}) s.${n}) sets)
    );
  removePrefix =
    prefix: s:
    let
      n = stringLength prefix;
    in
    if substring 0 n s == prefix then substring n (-1) s else s;
  hasPrefix = prefix: s: substring 0 (stringLength prefix) s == prefix;
  hasSuffix =
    suffix: s:
    let
      n = stringLength s - stringLength suffix;
    in
    n >= 0 && substring n (-1) s == suffix;
  escapeShellArg = s: "'${replaceStrings [ "'" ] [ "'\\''" ] (toString s)}'";
  recursiveUpdate =
    a: b:
    zipAttrsWith
      (
        _: vs:
        if length vs == 2 && isAttrs (head vs) && isAttrs (elemAt vs 1) then
          recursiveUpdate (head vs) (elemAt vs 1)
        else
          elemAt vs (length vs - 1)
      )
      [
        a
        b
      ];

  # The module system. A definition may be wrapped; defaults have priority 1000,
  # plain ones 100, forced ones 50.
  mkIf = condition: content: {
    _type = "if";
    inherit condition content;
  };
  mkMerge = contents: {
    _type = "merge";
    inherit contents;
  };
  mkOverride = priority: content: {
    _type = "override";
    inherit priority content;
  };
  typeOf = v: if isAttrs v then v._type or null else null;

  # A definition of a set as plain sets, its wrapping moved to their members: so the
  # names are known before a condition is.
  push =
    v:
    if typeOf v == "if" then
      map (mapAttrs (_: mkIf v.condition)) (push v.content)
    else if typeOf v == "merge" then
      concatMap push v.contents
    else if typeOf v == "override" then
      map (mapAttrs (_: mkOverride v.priority)) (push v.content)
    else
      [ v ];

  # A definition of an option as values with their priorities.
  discharge =
    priority: v:
    if typeOf v == "if" then
      optionals v.condition (discharge priority v.content)
    else if typeOf v == "merge" then
      concatMap (discharge priority) v.contents
    else if typeOf v == "override" then
      discharge v.priority v.content
    else
      [
        {
          inherit priority;
          value = v;
        }
      ];
  strongest =
    defs:
    let
      all = concatMap (discharge 100) defs;
      best = foldl' (a: d: if d.priority < a then d.priority else a) 9999 all;
    in
    map (d: d.value) (filter (d: d.priority == best) all);

  showPath = concatStringsSep ".";
  mergeOption =
    path: option: defs:
    let
      values = strongest defs;
      merged = option.type.merge path values;
    in
    if values != [ ] then
      merged
    else if option ? default then
      option.type.merge path [ option.default ]
    else
      option.type.empty or (throw "The option `${showPath path}' was accessed but has no value defined.");

  # Options and definitions → values. freeform is a type for what is not declared.
  evalOptions =
    {
      path,
      options,
      defs,
      freeform ? null,
    }:
    let
      sets = concatMap push defs;
      given = unique (concatMap attrNames sets);
      of = name: concatMap (s: optional (s ? ${name}) s.${name}) sets;
      undeclared = filter (n: !(options ? ${n}) && n != "_module") given;
      declared = mapAttrs (
        name: o:
        if typeOf o == "option" then
          mergeOption (path ++ [ name ]) o (of name)
        else
          evalOptions {
            path = path ++ [ name ];
            options = o;
            defs = of name;
          }
      ) options;
    in
    if freeform != null then
      freeform.merge path (map (s: removeAttrs s (attrNames options)) sets) // declared
    else if undeclared != [ ] then
      throw "The option `${showPath (path ++ [ (head undeclared) ])}' does not exist."
    else
      declared;

  collect =
    args: m:
    let
      module = if isPath m || isString m then import m else m;
      v = if isFunction module then module args else module;
      rest = removeAttrs v [
        "_class"
        "_file"
        "freeformType"
        "imports"
      ];
    in
    concatMap (collect args) (v.imports or [ ])
    ++ [
      {
        key = if isPath m then toString m else null;
        options = v.options or { };
        config = if v ? config || v ? options then v.config or { } else rest;
        freeform = v.freeformType or null;
      }
    ];
  # A file that is imported twice counts once.
  once = foldl' (
    acc: m: if m.key != null && elem m.key (map (x: x.key) acc) then acc else acc ++ [ m ]
  ) [ ];
  mergeOptions = foldl' (
    a: b:
    a
    // mapAttrs (
      n: o: if a ? ${n} && typeOf o != "option" then mergeOptions [ a.${n} o ] else o
    ) b
  ) { };
  evalModules =
    {
      modules,
      specialArgs ? { },
      prefix ? [ ],
    }:
    let
      all = once (concatMap (collect (specialArgs // { inherit lib config; })) modules);
      freeforms = filter (f: f != null) (map (m: m.freeform) all);
      config = evalOptions {
        path = prefix;
        options = mergeOptions (map (m: m.options) all);
        defs = map (m: m.config) all;
        freeform = if freeforms == [ ] then null else head freeforms;
      };
    in
    {
      inherit config;
    };

  # Types: what a value has to be, and how several definitions become one.
  wrong =
    path: name: v:
    throw "A definition for option `${showPath path}' is not of type `${name}': ${toJSON v}";
  checked =
    name: check: merge: {
      inherit name check;
      merge = path: vs: foldl' (acc: v: if check v then acc else wrong path name v) (merge path vs) vs;
    };
  same =
    path: vs:
    if filter (v: v != head vs) vs == [ ] then
      head vs
    else
      throw "The option `${showPath path}' has conflicting definition values: ${toJSON vs}";
  scalar = name: check: checked name check same;
  types = rec {
    str = scalar "string" (v: isString v || (isAttrs v && v ? outPath));
    int = scalar "integer" isInt;
    float = scalar "float" (v: isFloat v);
    bool = scalar "boolean" isBool;
    port = scalar "port" (v: isInt v && v >= 0 && v < 65536);
    path = scalar "path" (v: isPath v || (isString v && hasPrefix "/" v) || (isAttrs v && v ? outPath));
    package = scalar "package" (v: isAttrs v && v ? outPath);
    lines = checked "lines" isString (_: concatStringsSep "\n");
    enum = values: scalar "one of ${toJSON values}" (v: elem v values);
    raw = scalar "raw value" (_: true);
    unspecified = raw;
    nullOr =
      t:
      checked "null or ${t.name}" (v: v == null || t.check v) (
        path: vs: if filter (v: v != null) vs == [ ] then null else t.merge path vs
      );
    either =
      a: b:
      checked "${a.name} or ${b.name}" (v: a.check v || b.check v) (
        path: vs: if a.check (head vs) then a.merge path vs else b.merge path vs
      );
    oneOf = ts: foldl' either (head ts) (genList (i: elemAt ts (i + 1)) (length ts - 1));
    listOf = t: {
      name = "list of ${t.name}";
      check = isList;
      empty = [ ];
      merge =
        path: vs:
        concatLists (
          map (v: if isList v then map (x: t.merge path [ x ]) v else wrong path "list of ${t.name}" v) vs
        );
    };
    attrsOf = t: {
      element = t;
      name = "attribute set of ${t.name}";
      check = isAttrs;
      empty = { };
      merge =
        path: vs:
        let
          sets = concatMap push (
            map (v: if isAttrs v then v else wrong path "attribute set of ${t.name}" v) vs
          );
          of = n: concatMap (s: optional (s ? ${n}) s.${n}) sets;
          names = filter (n: strongest (of n) != [ ]) (unique (concatMap attrNames sets));
        in
        genAttrs names (n: t.merge (path ++ [ n ]) (strongest (of n)));
    };
    attrs = attrsOf anything;
    lazyAttrsOf = attrsOf;
    anything = {
      name = "anything";
      check = _: true;
      merge =
        path: vs:
        if isAttrs (head vs) && !(head vs ? outPath) then
          (attrsOf anything).merge path vs
        else
          same path vs;
    };
    submodule = m: {
      options = if isAttrs m then m.options or { } else { };
      name = "section";
      check = isAttrs;
      empty = (submodule m).merge [ ] [ { } ];
      merge =
        path: vs:
        (evalModules {
          modules = [
            m
          ]
          ++ map (v: { config = if isAttrs v then v else wrong path "section" v; }) vs;
          specialArgs.name = if path == [ ] then "" else elemAt path (length path - 1);
          prefix = path;
        }).config;
    };
  };

  lib = {
    inherit
      attrNames
      attrValues
      concatLists
      concatMap
      concatStringsSep
      elem
      escapeShellArg
      evalModules
      filter
      filterAttrs
      foldl'
      genAttrs
      hasPrefix
      hasSuffix
      head
      isAttrs
      isList
      isString
      length
      listToAttrs
      mapAttrs
      mkIf
      mkMerge
      mkOverride
      optional
      optionalAttrs
      optionals
      recursiveUpdate
      removePrefix
      replaceStrings
      sort
      types
      unique
      zipAttrsWith
      ;
    all = builtins.all;
    any = builtins.any;
    cleanSourceWith =
      {
        src,
        filter,
        name,
      }:
      {
        outPath = builtins.path {
          inherit name filter;
          path = src;
        };
      };
    concatMapStringsSep =
      sep: f: l:
      concatStringsSep sep (map f l);
    count = pred: l: length (filter pred l);
    escapeShellArgs = l: concatStringsSep " " (map escapeShellArg l);
    groupBy = builtins.groupBy;
    getOutput = output: package: package.${output} or package.out or package;
    hasInfix = infix: s: length (filter isString (builtins.split (escapeRegex infix) s)) > 1;
    imap0 = f: l: genList (i: f i (elemAt l i)) (length l);
    licenses.asl20.spdxId = "Apache-2.0";
    platforms.linux = [ "x86_64-linux" ];
    last = l: elemAt l (length l - 1);
    literalExpression = text: text;
    mapAttrsToList = f: set: map (n: f n set.${n}) (attrNames set);
    mkDefault = mkOverride 1000;
    mkForce = mkOverride 50;
    mkOption = o: { type = types.raw; } // o // { _type = "option"; };
    optionalString = c: s: if c then s else "";
    removeSuffix =
      suffix: s: if hasSuffix suffix s then substring 0 (stringLength s - stringLength suffix) s else s;
    splitString = sep: s: filter isString (builtins.split (escapeRegex sep) s);
    subtractLists = e: filter (x: !(elem x e));
    toList = v: if isList v then v else [ v ];
    versionAtLeast = a: b: builtins.compareVersions a b >= 0;
    zipAttrs = zipAttrsWith (_: vs: vs);
  };
  escapeRegex = replaceStrings (map (c: c) special) (map (c: "\\${c}") special);
  special = [
    "\\"
    "."
    "+"
    "*"
    "?"
    "("
    ")"
    "["
    "{"
    "|"
    "^"
    "$"
  ];
in
lib
