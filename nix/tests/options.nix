# The interface of both roles as a table, for README.md.
let
  lib = import ./standin.nix;
  render =
    prefix: options:
    lib.concatLists (
      lib.mapAttrsToList (
        name: o:
        if o._type or null == "option" then
          [
            {
              name = "${prefix}${name}";
              type = o.type.name;
              default = if o ? default then builtins.toJSON o.default else "";
              inherit (o) description;
            }
          ]
          ++ render "${prefix}${name}.<name>." (o.type.element.options or { })
        else
          render "${prefix}${name}." o
      ) options
    );
  roles = older: lib.mapAttrs (_: r: render "" r.options) (import ../options.nix { inherit lib older; });
in
{
  clanmon = roles false;
  older = roles true;
}
