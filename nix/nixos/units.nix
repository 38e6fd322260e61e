# The hardened units of both roles, as attribute sets of systemd.services. The
# scores of `systemd-analyze security` are held by a test (nix/tests).
{ lib }:
let
  inherit (import ../lib.nix { inherit lib; }) execArg;
  command = program: args: lib.concatMapStringsSep " " execArg ([ program ] ++ args);

  # What both roles can do without.
  hardened = {
    CapabilityBoundingSet = "";
    LockPersonality = true;
    MemoryDenyWriteExecute = true;
    NoNewPrivileges = true;
    PrivateDevices = true;
    PrivateMounts = true;
    PrivateTmp = true;
    PrivateUsers = true;
    ProtectControlGroups = true;
    ProtectHostname = true;
    ProtectKernelLogs = true;
    ProtectKernelModules = true;
    ProtectKernelTunables = true;
    ProtectSystem = "strict";
    RemoveIPC = true;
    RestrictNamespaces = true;
    RestrictRealtime = true;
    RestrictSUIDSGID = true;
    SystemCallArchitectures = "native";
    SystemCallErrorNumber = "EPERM";
    UMask = "0077";
  };

  # Sockets that a unit has nothing to ask of.
  hidden =
    { needsBus, needsTailscale }:
    let
      paths = lib.optional (!needsBus) "-/run/dbus" ++ lib.optional (!needsTailscale) "-/run/tailscale";
    in
    lib.optionalAttrs (paths != [ ]) { InaccessiblePaths = paths; };

  alive = {
    Type = "notify";
    Restart = "always";
    RestartSec = 5;
    WatchdogSec = "60s";
  };
in
{
  # %d in an argument is the directory of the credentials.
  exporter =
    {
      program, # bin/clanmon-exporter
      user,
      args,
      credentials ? [ ],
      environment ? { },
      environmentFiles ? [ ],
      groups ? [ ],
      needsBus ? true,
      needsTailscale ? true,
      allowedAddresses ? [
        "0.0.0.0/0"
        "::/0"
      ],
      after ? [ ],
    }:
    {
      description = "clanmon exporter";
      documentation = [ "https://github.com/clanmon/clanmon" ];
      wantedBy = [ "multi-user.target" ];
      # A bus that is not there yet would cost the first scrapes.
      wants = [ "dbus.socket" ];
      after = [
        "network.target"
        "dbus.socket"
      ]
      ++ after;
      inherit environment;
      serviceConfig =
        alive
        // hardened
        // {
          # The specifier must reach systemd as it is.
          ExecStart = lib.replaceStrings [ "%%d/" ] [ "%d/" ] (command program args);
          # Not DynamicUser: dbus-daemon would throw it off the bus.
          User = user;
          Group = user;
          # Home directories are file systems that somebody wants to see.
          ProtectHome = "read-only";
          IPAddressDeny = "any";
          IPAddressAllow = allowedAddresses;
          # Not ProtectProc=invisible and not ProtectClock: file systems would look
          # read-only, and timex could not be read.
          RestrictAddressFamilies = [
            "AF_UNIX"
            "AF_INET"
            "AF_INET6"
            "AF_NETLINK"
          ];
          SystemCallFilter = [
            "@system-service"
            "~@privileged @resources"
            "adjtimex clock_adjtime"
          ];
        }
        // hidden { inherit needsBus needsTailscale; }
        // lib.optionalAttrs (credentials != [ ]) { LoadCredential = credentials; }
        // lib.optionalAttrs (environmentFiles != [ ]) { EnvironmentFile = environmentFiles; }
        // lib.optionalAttrs (groups != [ ]) { SupplementaryGroups = groups; };
    };

  server =
    {
      program,
      user,
      args,
      credentials ? [ ],
      stateDir,
      lowPort ? false,
      needsTailscale ? false,
      after ? [ ],
    }:
    {
      description = "clanmon server";
      documentation = [ "https://github.com/clanmon/clanmon" ];
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      after = [ "network-online.target" ] ++ after;
      serviceConfig =
        alive
        // hardened
        // {
          ExecStart = lib.replaceStrings [ "%%d/" ] [ "%d/" ] (command program ([ "server" ] ++ args));
          ExecReload = "/bin/sh -c 'kill -HUP $MAINPID'";
          User = user;
          Group = user;
          StateDirectory = stateDir;
          StateDirectoryMode = "0700";
          WorkingDirectory = "/var/lib/${stateDir}";
          # A long WAL is replayed before it is ready; it asks for more time itself.
          TimeoutStartSec = "5min";
          DevicePolicy = "closed";
          ProcSubset = "pid";
          ProtectClock = true;
          ProtectHome = true;
          ProtectProc = "invisible";
          # AF_UNIX: the socket of tailscaled and systemd's notifications.
          RestrictAddressFamilies = [
            "AF_UNIX"
            "AF_INET"
            "AF_INET6"
          ];
          SystemCallFilter = [
            "@system-service"
            "~@privileged @resources"
          ];
        }
        // hidden {
          needsBus = false;
          inherit needsTailscale;
        }
        // lib.optionalAttrs lowPort {
          AmbientCapabilities = "CAP_NET_BIND_SERVICE";
          CapabilityBoundingSet = "CAP_NET_BIND_SERVICE";
          PrivateUsers = false;
        }
        // lib.optionalAttrs (credentials != [ ]) { LoadCredential = credentials; };
    };
}
