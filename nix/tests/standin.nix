# A stand-in for the parts of nixpkgs' lib that our Nix files use, with a module
# system of its own, so that they can be evaluated where there is no nixpkgs: in CI,
# with Debian's nix-bin. It is as strict as the real one: types, conflicts and unknown
# options are errors that name the file of the definition. tests/eval-tests.nix are the
# tests with the real ones.
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
    match
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
  filterAttrs = pred: set: genAttrs (filter (n: pred n set.${n}) (attrNames set)) (n: set.${n});
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
  last = l: elemAt l (length l - 1);
  escapeShellArg = s: "'${replaceStrings [ "'" ] [ "'\\''" ] (toString s)}'";
  isDerivation = v: isAttrs v && v.type or null == "derivation";
  recursiveUpdate =
    a: b:
    zipAttrsWith
      (
        _: vs:
        if length vs == 2 && isAttrs (head vs) && isAttrs (elemAt vs 1) then
          recursiveUpdate (head vs) (elemAt vs 1)
        else
          last vs
      )
      [
        a
        b
      ];
  setAttrByPath = path: v: if path == [ ] then v else { ${head path} = setAttrByPath (tail path) v; };
  inherit (builtins) tail;

  # The module system. A definition may be wrapped; defaults have priority 1000, plain
  # ones 100, forced ones 50. "def" says in which file it stands.
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
  inFile = file: content: {
    _type = "def";
    inherit file content;
  };
  typeOf = v: if isAttrs v then v._type or null else null;

  # A definition of a set as plain sets, its wrapping moved to their members: so the
  # names are known before a condition is.
  push =
    v:
    {
      "if" = map (mapAttrs (_: mkIf v.condition)) (push v.content);
      merge = concatMap push v.contents;
      override = map (mapAttrs (_: mkOverride v.priority)) (push v.content);
      def = map (mapAttrs (_: inFile v.file)) (push v.content);
    }
    .${if typeOf v == null then "" else typeOf v} or [ v ];

  # A definition of an option as values with their priorities and files.
  discharge =
    priority: file: v:
    {
      "if" = optionals v.condition (discharge priority file v.content);
      merge = concatMap (discharge priority file) v.contents;
      override = discharge v.priority file v.content;
      def = discharge priority v.file v.content;
    }
    .${if typeOf v == null then "" else typeOf v} or [
      {
        inherit priority file;
        value = v;
      }
    ];
  strongest =
    defs:
    let
      all = concatMap (discharge 100 "<unknown>") defs;
      best = foldl' (a: d: if d.priority < a then d.priority else a) 9999 all;
    in
    filter (d: d.priority == best) all;

  showPath = concatStringsSep ".";
  showDefs = concatMapStringsSep "" (
    d: "\n- In `${d.file}'${if isFunction d.value then "" else ": ${toJSON d.value}"}"
  );
  concatMapStringsSep =
    sep: f: l:
    concatStringsSep sep (map f l);
  mergeOption =
    path: option: defs:
    let
      given = strongest defs;
      values =
        if given == [ ] && option ? default then
          [
            {
              file = "default";
              value = option.default;
            }
          ]
        else
          given;
    in
    (option.apply or (v: v)) (
      if values != [ ] then
        option.type.merge path values
      else
        option.type.empty or (throw "The option `${showPath path}' was accessed but has no value defined.")
    );

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
      # Not mapAttrs: Nix would not notice a name that depends on its own value.
      declared = genAttrs (attrNames options) (
        name:
        let
          o = options.${name};
        in
        if typeOf o == "option" then
          mergeOption (path ++ [ name ]) o (of name)
        else
          evalOptions {
            path = path ++ [ name ];
            options = o;
            defs = of name;
          }
      );
      unknown = head undeclared;
    in
    if freeform != null then
      freeform.merge path (
        map (s: {
          file = "";
          value = removeAttrs s (attrNames options);
        }) sets
      )
      // declared
    else if undeclared != [ ] then
      throw "The option `${showPath (path ++ [ unknown ])}' does not exist. Definition values:${showDefs (strongest (of unknown))}"
    else
      declared;

  # A module with its imports. fallback is the key of a module that is not a file.
  collect =
    args: fallback: m:
    let
      module = if isPath m || isString m then import m else m;
      v = if isFunction module then module args else module;
      key = if isPath m then toString m else fallback;
      file = v._file or (if key == null then "<unknown>" else key);
      rest = removeAttrs v [
        "_class"
        "_file"
        "freeformType"
        "imports"
      ];
    in
    concatLists (
      lib.imap0 (i: collect args (if key == null then null else "${key}:${toString i}")) (
        v.imports or [ ]
      )
    )
    ++ [
      {
        inherit key;
        options = v.options or { };
        config = inFile file (if v ? config || v ? options then v.config or { } else rest);
        freeform = v.freeformType or null;
      }
    ];
  # A file that is imported twice counts once.
  once = foldl' (
    acc: m: if m.key != null && elem m.key (map (x: x.key) acc) then acc else acc ++ [ m ]
  ) [ ];
  # An option may be declared twice where its types can be joined.
  joinOptions =
    a: b:
    if typeOf a == "option" && typeOf b == "option" then
      if a ? description && b ? description then
        throw "The option `${a.description}' is already declared"
      else
        a // b // { type = a.type.join b.type; }
    else
      mergeOptions [
        a
        b
      ];
  mergeOptions = zipAttrsWith (_: foldl' (a: b: if a == null then b else joinOptions a b) null);
  evalModules =
    {
      modules,
      specialArgs ? { },
      prefix ? [ ],
    }:
    let
      all = once (concatMap (collect ({ inherit lib config; } // specialArgs) null) modules);
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
  mkOptionType =
    {
      name,
      check ? _: true,
      merge ? same,
      ...
    }@t:
    t
    // {
      inherit name check;
      merge =
        path: defs:
        let
          bad = filter (d: !(check d.value)) defs;
        in
        if bad != [ ] then
          throw "A definition for option `${showPath path}' is not of type `${t.description or name}'. Definition values:${showDefs bad}"
        else
          merge path defs;
    };
  same =
    path: defs:
    if filter (d: d.value != (head defs).value) defs == [ ] then
      (head defs).value
    else
      throw "The option `${showPath path}' has conflicting definition values:${showDefs defs}";
  scalar = name: check: mkOptionType { inherit name check; };
  types = rec {
    str = scalar "string" isString;
    int = scalar "integer" isInt;
    float = scalar "float" isFloat;
    bool = scalar "boolean" isBool;
    port = scalar "port" (v: isInt v && v >= 0 && v < 65536);
    path = scalar "path" (v: isPath v || (isString v && hasPrefix "/" v) || isDerivation v);
    package = scalar "package" isDerivation;
    strMatching = regex: scalar "string matching ${regex}" (v: isString v && match regex v != null);
    addCheck = t: check: mkOptionType (t // { check = v: t.check v && check v; });
    lines = mkOptionType {
      name = "lines";
      check = isString;
      merge = _: defs: concatMapStringsSep "\n" (d: d.value) defs;
    };
    enum =
      values:
      scalar "one of ${toJSON values}" (v: elem v values)
      // {
        inherit values;
        join = t: enum (values ++ t.values);
      };
    raw = scalar "raw value" (_: true);
    unspecified = raw;
    nullOr =
      t:
      mkOptionType {
        name = "null or ${t.name}";
        check = v: v == null || t.check v;
        description = "null or ${t.description or t.name}";
        merge =
          path: defs:
          let
            given = filter (d: d.value != null) defs;
          in
          if given == [ ] then
            null
          else if length given != length defs then
            throw "The option `${showPath path}' is defined both null and not null:${showDefs defs}"
          else
            t.merge path defs;
      }
      // {
        element = t;
        join = o: nullOr (t.join o.element);
      };
    either =
      a: b:
      mkOptionType {
        name = "${a.name} or ${b.name}";
        check = v: a.check v || b.check v;
        merge = path: defs: (if a.check (head defs).value then a else b).merge path defs;
      };
    oneOf = ts: foldl' either (head ts) (tail ts);
    listOf = t: {
      name = "list of ${t.description or t.name}";
      check = isList;
      empty = [ ];
      merge =
        path: defs:
        concatMap (
          d:
          if isList d.value then
            map (v: t.merge path [ (d // { value = v; }) ]) d.value
          else
            (scalar "list of ${t.name}" isList).merge path [ d ]
        ) defs;
    };
    nonEmptyListOf = t: addCheck (listOf t) (v: isList v && v != [ ]);
    attrsOf = t: {
      element = t;
      name = "attribute set of ${t.name}";
      check = isAttrs;
      empty = { };
      merge =
        path: defs:
        let
          sets = concatMap (
            d:
            push (
              inFile d.file (
                if isAttrs d.value then d.value else (scalar "attribute set of ${t.name}" isAttrs).merge path [ d ]
              )
            )
          ) defs;
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
        path: defs:
        let
          v = (head defs).value;
        in
        if isAttrs v && !(isDerivation v) then (attrsOf anything).merge path defs else same path defs;
    };
    submodule = m: {
      options = if isAttrs m then m.options or { } else { };
      name = "section";
      check = isAttrs;
      empty = (submodule m).merge [ ] [ ];
      merge =
        path: defs:
        (evalModules {
          modules = [
            m
          ]
          ++ map (d: {
            _file = d.file;
            config = if isAttrs d.value then d.value else (scalar "section" isAttrs).merge path [ d ];
          }) defs;
          specialArgs.name = if path == [ ] then "" else last path;
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
      concatMapStringsSep
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
      isDerivation
      isList
      isString
      last
      length
      listToAttrs
      mapAttrs
      mkIf
      mkMerge
      mkOptionType
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
    concatMapStrings = concatMapStringsSep "";
    count = pred: l: length (filter pred l);
    escapeShellArgs = concatMapStringsSep " " escapeShellArg;
    fix =
      f:
      let
        x = f x;
      in
      x;
    getAttrs = names: set: genAttrs names (n: set.${n});
    getExe = p: "${p.outPath}/bin/${p.meta.mainProgram}";
    getExe' = p: name: "${p.outPath}/bin/${name}";
    getOutput = output: package: package.${output} or package.out or package;
    groupBy = builtins.groupBy;
    hasInfix = infix: s: length (filter isString (builtins.split (escapeRegex infix) s)) > 1;
    intersectLists = e: filter (x: elem x e);
    imap0 = f: l: genList (i: f i (elemAt l i)) (length l);
    licenses.asl20.spdxId = "Apache-2.0";
    literalExpression = text: text;
    literalMD = text: text;
    mapAttrsToList = f: set: map (n: f n set.${n}) (attrNames set);
    mkDefault = mkOverride 1000;
    mkEnableOption =
      what:
      lib.mkOption {
        type = types.bool;
        default = false;
        description = "Whether to enable ${what}.";
      };
    mkForce = mkOverride 50;
    mkOption = o: { type = types.raw; } // o // { _type = "option"; };
    mkPackageOption =
      pkgs: name: _:
      lib.mkOption {
        type = types.package;
        default = pkgs.${name};
        description = "The package ${name}.";
      };
    mkRenamedOptionModule =
      from: to:
      { config, ... }:
      let
        here = foldl' (set: n: set.${n}) config from;
      in
      {
        options = setAttrByPath from (
          lib.mkOption {
            default = null;
            type = mkOptionType {
              name = "renamed";
              merge = _: defs: filter (d: d.file != "default") defs;
            };
          }
        );
        config = mkIf (here != [ ]) (mkMerge [
          (setAttrByPath to (mkMerge (map (d: inFile d.file d.value) here)))
          {
            warnings = [ "The option `${showPath from}' has been renamed to `${showPath to}'." ];
          }
        ]);
      };
    mapAttrs' = f: set: listToAttrs (map (n: f n set.${n}) (attrNames set));
    optionalString = c: s: if c then s else "";
    platforms.linux = [ "x86_64-linux" ];
    removeSuffix =
      suffix: s: if hasSuffix suffix s then substring 0 (stringLength s - stringLength suffix) s else s;
    splitString = sep: s: filter isString (builtins.split (escapeRegex sep) s);
    subtractLists = e: filter (x: !(elem x e));
    toList = v: if isList v then v else [ v ];
    trim =
      s:
      let
        m = match "[ \n\t]*(.*[^ \n\t])[ \n\t]*" s;
      in
      if m == null then "" else head m;
    trivial.release = "26.05";
    versionOlder = a: b: builtins.compareVersions a b < 0;
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
