# What both roles share: the package, open ports, and checks of the build.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.clanmon;

  # The VPN interfaces of this machine. A WireGuard peer that is a way to the whole
  # internet is a provider, with strangers behind it, and nobody knows what is in a
  # configFile. Yggdrasil and Mycelium are open to the world; only clan's own
  # yggdrasil admits nobody but the clan.
  wireguard =
    (config.networking.wireguard.interfaces or { }) // (config.networking.wg-quick.interfaces or { });
  private =
    net:
    (net.configFile or null) == null
    && !(lib.any (peer: lib.any (lib.hasSuffix "/0") (peer.allowedIPs or [ ])) (net.peers or [ ]));
  inherit (config.services) tailscale yggdrasil;
  vpn =
    # In userspace there is no interface: connections come from localhost.
    lib.optional tailscale.enable (
      if tailscale.interfaceName == "userspace-networking" then "lo" else tailscale.interfaceName
    )
    ++ lib.attrNames (lib.filterAttrs (_: private) wireguard)
    ++ lib.optional config.services.zerotierone.enable "zt+"
    ++ lib.optional (
      yggdrasil.enable && (config.clan.core.networking.internalListenAddresses or [ ]) != [ ]
    ) (yggdrasil.settings.IfName or "ygg");

  everywhere = p: p.openFirewall == true && p.interfaces == [ ];
  # A wrong name is an error also where it has no effect.
  interfacesOf =
    p:
    builtins.deepSeq p.interfaces (
      if p.openFirewall == false || everywhere p then
        [ ]
      else if p.interfaces != [ ] then
        p.interfaces
      else
        vpn
    );
  closed = lib.filter (
    p: p.openFirewall != false && !(everywhere p) && interfacesOf p == [ ]
  ) cfg.ports;
  # nftables wants "zt*" where iptables wants "zt+".
  pattern =
    name:
    let
      stem = lib.removeSuffix "+" (lib.removeSuffix "*" name);
    in
    if stem == name then name else stem + (if config.networking.nftables.enable then "*" else "+");

  # Two listeners on one port; two instances may share an exporter.
  listeners = lib.groupBy (p: toString p.port) (
    lib.attrValues (lib.mapAttrs (_: lib.head) (lib.groupBy (p: p.what) cfg.ports))
  );
in
{
  options.services.clanmon = {
    package = lib.mkPackageOption {
      clanmon = pkgs.clanmon or (pkgs.callPackage ../package.nix { });
    } "clanmon" { pkgsText = "clanmon.packages.\${system}"; };
    checkConfig = mkOption {
      type = types.bool;
      default = pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform;
      defaultText = lib.literalMD "whether the building machine can run the package";
      description = "Whether to check flags and settings with `clanmon check` while building, so that a mistake fails the build and not the machine.";
    };
    ports = mkOption {
      internal = true;
      default = [ ];
      description = "Ports that clanmon listens on, and where to open them.";
      type = types.listOf (
        types.submodule {
          options = (import ../options.nix { inherit lib; }).firewall // {
            where = mkOption {
              type = types.str;
              description = "Option path, or clan instance, role and machine, for messages.";
            };
            what = mkOption {
              type = types.str;
              description = "What listens.";
            };
            port = mkOption {
              type = types.port;
              description = "The port.";
            };
          };
        }
      );
    };
  };

  config = {
    assertions = lib.mapAttrsToList (port: users: {
      assertion = lib.length users < 2;
      message = "${(lib.head users).where}: port ${port} is used by ${
        lib.concatMapStringsSep " and by " (u: u.what) users
      }; give one of them another `port`";
    }) listeners;
    warnings = lib.optionals config.networking.firewall.enable (
      lib.mapAttrsToList (
        where: ports:
        "${where}: ${
          lib.concatMapStringsSep ", " (p: "port ${toString p.port} (${p.what})") ports
        }: closed, because this machine has no VPN interface that clanmon knows. "
        + ''Open with `interfaces = [ "eth1" ];`, or on all interfaces with `openFirewall = true;`; `openFirewall = false;` ends this warning.''
      ) (lib.groupBy (p: p.where) closed)
    );
    networking.firewall = lib.mkMerge (
      map (p: {
        allowedTCPPorts = lib.optional (everywhere p) p.port;
        interfaces = lib.genAttrs (map pattern (interfacesOf p)) (_: {
          allowedTCPPorts = [ p.port ];
        });
      }) cfg.ports
    );
  };
}
