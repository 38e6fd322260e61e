# A stand-in for the parts of nixpkgs' lib that our Nix files use, so that they can
# be evaluated where there is no nixpkgs: in CI, with Debian's nix-bin.
{
  head = builtins.head;
  removePrefix =
    prefix: s:
    let
      n = builtins.stringLength prefix;
    in
    if builtins.substring 0 n s == prefix then builtins.substring n (-1) s else s;
  hasSuffix =
    suffix: s:
    let
      n = builtins.stringLength s - builtins.stringLength suffix;
    in
    n >= 0 && builtins.substring n (-1) s == suffix;
  splitString = separator: s: builtins.filter builtins.isString (builtins.split separator s);
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
}
