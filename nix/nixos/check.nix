# A build that fails where the program would refuse to start: wrong flags, settings,
# scrape configurations, rules. Files of secrets are not there while it builds.
{
  lib,
  pkgs,
  package,
  flags,
  settings,
  inventory ? null,
  configFile ? null,
  alertmanagerFile ? null,
}:
let
  json = name: v: pkgs.writeText name (builtins.toJSON v);
  settingsFile = json "clanmon-settings.json" (
    settings
    // lib.optionalAttrs (inventory != null) {
      inventoryFile = "${json "clanmon-inventory.json" inventory}";
    }
  );
in
pkgs.runCommand "clanmon-server-checked" { } ''
  check() { ${package}/bin/clanmon check "$@"; }
  check settings --syntax-only ${settingsFile}
  check flags server -- ${lib.escapeShellArgs flags}
  ${lib.optionalString (configFile != null) "check config --syntax-only ${configFile}"}
  ${lib.optionalString (alertmanagerFile != null) "check alertmanager --syntax-only ${alertmanagerFile}"}
  touch $out
''
