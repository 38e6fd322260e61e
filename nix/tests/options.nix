# The interface of both roles as a table, for README.md.
let
  lib = import ./standin.nix;
  nested =
    t:
    if t ? options then
      { inherit (t) options; }
    else if t ? element then
      nested t.element // { name = if lib.hasPrefix "attribute set" t.name then "<name>." else ""; }
    else
      { };
  render =
    prefix: options:
    lib.concatLists (
      lib.mapAttrsToList (
        name: o:
        if o._type or null == "option" then
          let
            inner = nested o.type;
          in
          [
            {
              name = "${prefix}${name}";
              type = o.type.description or o.type.name;
              default = if o ? default then builtins.toJSON o.default else "";
              inherit (o) description;
            }
          ]
          ++ render "${prefix}${name}.${inner.name or ""}" (inner.options or { })
        else
          render "${prefix}${name}." o
      ) options
    );
  evaluate =
    file: role:
    let
      service = import file {
        inherit lib;
        config.instances = { };
        clanLib = { };
        directory = ./.;
      };
      interface = service.roles.${role}.interface;
    in
    {
      options = render "" interface.options;
      values = (lib.evalModules { modules = [ interface ]; }).config;
    };
  roles =
    file:
    lib.genAttrs [
      "server"
      "exporter"
    ] (evaluate file);
  older = roles ../service/prometheus.nix;
in
lib.mapAttrs (
  role: r:
  map (
    o:
    let
      value = older.${role}.values.${o.name} or null;
    in
    # Only options of the first level have other defaults there.
    o
    // {
      older = if lib.isAttrs value || lib.hasInfix "." o.name then o.default else builtins.toJSON value;
    }
  ) r.options
) (roles ../service/clanmon.nix)
