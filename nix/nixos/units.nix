# The hardened unit of the exporter, and what the server's adds to that of
# services.prometheus. The scores of `systemd-analyze security` are held by a test
# (nix/tests).
{ lib }:
let
  inherit (import ../lib.nix { inherit lib; }) execArg;
  command = program: args: lib.concatMapStringsSep " " execArg ([ program ] ++ args);

  # Sockets that a unit does not need.
  hidden =
    { needsBus, needsTailscale }:
    let
      paths = lib.optional (!needsBus) "-/run/dbus" ++ lib.optional (!needsTailscale) "-/run/tailscale";
    in
    lib.optionalAttrs (paths != [ ]) { InaccessiblePaths = paths; };

  both = {
    Type = "notify";
    RestartSec = 5;
    WatchdogSec = "60s";
    PrivateMounts = true;
    SystemCallErrorNumber = "EPERM";
    UMask = "0077";
  };
in
{
  # %d in an argument is the directory of the credentials.
  exporter =
    {
      program, # bin/clanmon-exporter
      user,
      args,
      credentials,
      environment,
      environmentFiles,
      groups,
      needsBus,
      needsTailscale,
      allowedAddresses,
      stateDirectory, # below /var/lib; "" for none
      after,
    }:
    {
      description = "clanmon exporter";
      documentation = [ "https://github.com/clanmon/clanmon" ];
      wantedBy = [ "multi-user.target" ];
      # Without a bus the first scrapes would miss the units.
      wants = [ "dbus.socket" ];
      after = [
        "network.target"
        "dbus.socket"
      ]
      ++ after;
      inherit environment;
      serviceConfig =
        both
        // {
          # The specifier must reach systemd as it is.
          ExecStart = lib.replaceStrings [ "%%d/" ] [ "%d/" ] (command program args);
          Restart = "always";
          # Not DynamicUser: dbus-daemon would disconnect it from the bus.
          User = user;
          Group = user;
          CapabilityBoundingSet = "";
          LockPersonality = true;
          MemoryDenyWriteExecute = true;
          NoNewPrivileges = true;
          PrivateDevices = true;
          PrivateTmp = true;
          PrivateUsers = true;
          ProtectControlGroups = true;
          # Home directories are file systems that somebody wants to see.
          ProtectHome = "read-only";
          ProtectHostname = true;
          ProtectKernelLogs = true;
          ProtectKernelModules = true;
          ProtectKernelTunables = true;
          # Not ProtectProc=invisible and not ProtectClock: file systems would look
          # read-only, and timex could not be read.
          ProtectSystem = "strict";
          RemoveIPC = true;
          RestrictAddressFamilies = [
            "AF_UNIX"
            "AF_INET"
            "AF_INET6"
            "AF_NETLINK"
          ];
          RestrictNamespaces = true;
          RestrictRealtime = true;
          RestrictSUIDSGID = true;
          SystemCallArchitectures = "native";
          SystemCallFilter = [
            "@system-service"
            "~@privileged @resources"
            "adjtimex clock_adjtime"
          ];
          IPAddressDeny = "any";
          IPAddressAllow = allowedAddresses;
        }
        // hidden { inherit needsBus needsTailscale; }
        // lib.optionalAttrs (credentials != [ ]) { LoadCredential = credentials; }
        // lib.optionalAttrs (environmentFiles != [ ]) { EnvironmentFile = environmentFiles; }
        // lib.optionalAttrs (groups != [ ]) { SupplementaryGroups = groups; }
        // lib.optionalAttrs (stateDirectory != "") {
          StateDirectory = stateDirectory;
          StateDirectoryMode = "0700";
        };
    };

  # Runs from the first request for the journal or processes until a minute after the last
  # one. It may read the journal and what everybody may read in /proc.
  look =
    {
      program, # bin/clanmon-exporter
      user,
      args,
    }:
    {
      description = "Look at the journal and processes";
      documentation = [ "https://github.com/clanmon/clanmon" ];
      requires = [ "clanmon-look.socket" ];
      partOf = [ "clanmon-exporter.service" ];
      unitConfig = {
        CollectMode = "inactive-or-failed";
        StartLimitIntervalSec = 0;
      };
      serviceConfig = {
        ExecStart = command program ([ "look" ] ++ args);
        User = user;
        Group = user;
        SupplementaryGroups = [ "systemd-journal" ];
        MemoryMax = "512M";
        OOMPolicy = "continue";
        TasksMax = 128;
        CapabilityBoundingSet = "";
        DevicePolicy = "closed";
        IPAddressDeny = "any";
        KeyringMode = "private";
        LockPersonality = true;
        MemoryDenyWriteExecute = true;
        NoNewPrivileges = true;
        PrivateDevices = true;
        PrivateMounts = true;
        PrivateNetwork = true;
        PrivateTmp = true;
        PrivateUsers = true;
        ProtectClock = true;
        ProtectControlGroups = true;
        ProtectHome = true;
        ProtectHostname = true;
        ProtectKernelLogs = true;
        ProtectKernelModules = true;
        ProtectKernelTunables = true;
        ProtectSystem = "strict";
        RemoveIPC = true;
        RestrictAddressFamilies = [ "AF_UNIX" ];
        RestrictNamespaces = true;
        RestrictRealtime = true;
        RestrictSUIDSGID = true;
        SystemCallArchitectures = "native";
        SystemCallErrorNumber = "EPERM";
        SystemCallFilter = [
          "@system-service"
          "~@privileged @resources"
        ];
        UMask = "0077";
      };
    };

  # Starts with every activation, and says so of a system that is another than the last one. It
  # neither delays nor fails a deploy whose server is away.
  noteDeploy =
    {
      program, # bin/clanmon-exporter
      deployed,
      machine,
      server,
      credentials, # file by flag
    }:
    let
      inherit (lib) escapeShellArg;
      flags = lib.mapAttrsToList (flag: _: "--${flag}=\"$CREDENTIALS_DIRECTORY/${flag}\"") credentials;
    in
    {
      description = "Note of a deploy, for clanmon";
      documentation = [ "https://github.com/clanmon/clanmon" ];
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      after = [ "network-online.target" ];
      script = ''
        system=$(readlink -f /run/current-system)
        last=$STATE_DIRECTORY/system
        if [ "$(cat "$last" 2>/dev/null)" = "$system" ]; then exit 0; fi
        ${program} event ${escapeShellArg deployed} --machine=${escapeShellArg machine} --server=${escapeShellArg server} --retry=1h ${lib.concatStringsSep " " flags} || exit 0
        printf %s "$system" > "$last"
      '';
      serviceConfig = {
        Type = "exec";
        DynamicUser = true;
        StateDirectory = "clanmon-note-deploy";
        CapabilityBoundingSet = "";
        LockPersonality = true;
        MemoryDenyWriteExecute = true;
        NoNewPrivileges = true;
        PrivateDevices = true;
        ProtectClock = true;
        ProtectControlGroups = true;
        ProtectHome = true;
        ProtectHostname = true;
        ProtectKernelLogs = true;
        ProtectKernelModules = true;
        ProtectKernelTunables = true;
        RestrictAddressFamilies = [
          "AF_UNIX"
          "AF_INET"
          "AF_INET6"
        ];
        RestrictNamespaces = true;
        RestrictRealtime = true;
        SystemCallArchitectures = "native";
        SystemCallFilter = [
          "@system-service"
          "~@privileged @resources"
        ];
        UMask = "0077";
      }
      // lib.optionalAttrs (credentials != { }) {
        LoadCredential = lib.mapAttrsToList (flag: file: "${flag}:${file}") credentials;
      };
    };

  server =
    { needsTailscale }:
    both
    // {
      # Replaying a long WAL takes time; the server asks for more itself.
      TimeoutStartSec = "5min";
      ProcSubset = "pid";
      ProtectSystem = lib.mkForce "strict";
      SystemCallFilter = [ "~@resources" ];
    }
    // hidden {
      needsBus = false;
      inherit needsTailscale;
    };
}
