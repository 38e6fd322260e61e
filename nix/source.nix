# What the package is built of: all Go code but its tests, and what Go embeds.
# Documents, tests, the sources of the pages and Nix files are not in it, so that
# changing them rebuilds nothing. It is also what the vendor hash is computed of
# (nix/tests).
{ lib }:
let
  root = ../.;
  folders = [
    "cmd"
    "discovery"
    "exporter"
    "internal"
    "server"
    "web"
  ];
  files = [
    "go.mod"
    "go.sum"
    "LICENSE"
    "NOTICE"
  ];
in
lib.cleanSourceWith {
  name = "clanmon-source";
  src = root;
  filter =
    path: _type:
    let
      relative = lib.removePrefix "${toString root}/" (toString path);
      name = baseNameOf path;
    in
    builtins.elem relative files
    || (
      builtins.elem (lib.head (lib.splitString "/" relative)) folders
      && relative != "web/ui"
      && name != "testdata"
      && !(lib.hasSuffix "_test.go" name)
    );
}
