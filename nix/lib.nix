# What our modules compute: pure functions of settings, with nothing but nixpkgs'
# lib. Metrics, collectors, rules and ports are the program's: it writes
# vocabulary.json (see nix/tests).
#
# `where` is who has to change something, for messages: an option path, or a clan
# instance with role and machine. A problem is a message of an assertion.
{ lib }:
let
  inherit (lib)
    attrNames
    concatLists
    concatMap
    concatStringsSep
    elem
    filter
    filterAttrs
    hasInfix
    hasPrefix
    isAttrs
    isList
    isString
    mapAttrs
    mapAttrsToList
    optional
    optionals
    ;
  vocabulary = builtins.fromJSON (builtins.readFile ./vocabulary.json);
  kinds = attrNames vocabulary.ports;
  list = concatStringsSep ", ";

  # An argument as systemd's ExecStart= takes it. One that needs no quotes stays as
  # it is, so that units can be read.
  execArg =
    s:
    let
      escaped = builtins.replaceStrings [ "%" "$" ] [ "%%" "$$" ] (toString s);
    in
    if builtins.match "[A-Za-z0-9_@%$+=:,./?&~^|{}()*[<>-]+]*" escaped != null && !(hasInfix "]" escaped) then
      escaped
    else
      builtins.toJSON escaped;

  # extraFlags as NixOS' modules take them, where systemd splits and unquotes, and
  # some programs take one dash for two: -name 'value' is the argument --name=value.
  plainFlag =
    flag:
    let
      parts = builtins.match "--?([a-z][a-z0-9._-]*)( +|=)(.*)" flag;
      lone = builtins.match "-([a-z][a-z0-9._-]+)" flag;
      unquoted =
        v:
        let
          inner = builtins.match "'([^']*)'|\"([^\"]*)\"" v;
        in
        if inner == null then v else lib.head (filter (i: i != null) inner);
    in
    if parts != null then
      "--${lib.head parts}=${unquoted (lib.last parts)}"
    else if lone != null then
      "--${lib.head lone}"
    else
      flag;

  # Attribute names as the flags of a program: true and false, a value, or a list
  # for a flag that may be repeated.
  toFlags =
    settings:
    concatLists (
      mapAttrsToList (
        name: value:
        if value == true then
          [ "--${name}" ]
        else if value == false then
          [ "--no-${name}" ]
        else if isList value then
          map (v: "--${name}=${toString v}") value
        else
          optional (value != null) "--${name}=${toString value}"
      ) settings
    );

  # Where in a tree of settings a secret stands in clear text. Whatever is in
  # settings can be read by everybody on the machine, in the store.
  isSecret =
    name: v:
    isString v
    && v != ""
    &&
      builtins.match "(.*_)?(password|token|secret|credentials|(access|api|consumer|private|routing|secret|service|user)_key)" name
      != null;
  holdsSecret =
    v:
    lib.any (pattern: builtins.match pattern v != null) [
      "[^\n]*://[^/ \n]*:[^/ \n]+@[^\n]*"
      "[^\n]*://[^\n]*[?&](access_token|api_?key|password|secret|token)=[^\n]*"
      "[^\n]*://hooks[.]slack[.]com/services/[^\n]*"
      ".*-----BEGIN [A-Z ]*PRIVATE KEY-----.*"
    ];
  # A package is a name in the store and not a tree: it contains itself.
  isPackage = v: isAttrs v && (v.type or null == "derivation" || v ? outPath);
  pastedSecrets =
    path: value:
    if isPackage value then
      [ ]
    else if isAttrs value then
      concatLists (
        mapAttrsToList (
          name: v:
          let
            here = "${path}.${name}";
          in
          if isSecret name v then [ here ] else pastedSecrets here v
        ) value
      )
    else if isList value then
      concatLists (lib.imap0 (i: pastedSecrets "${path}[${toString i}]") value)
    else if isString value && holdsSecret value then
      [ path ]
    else
      [ ];

  # Which interfaces a port is opened on. openFirewall: true everywhere, false
  # nowhere, null on the VPN only; interfaces, if there are any, on these alone.
  # Names may end in "+" or "*". Two instances that share an exporter each say so in
  # openings; it is open wherever one of them wants it.
  openPort =
    {
      where,
      openFirewall ? null,
      interfaces ? [ ],
      openings ? [ { inherit openFirewall interfaces; } ],
      vpnInterfaces,
      port,
      what,
    }:
    let
      chosen =
        o:
        if o.openFirewall == false then
          [ ]
        else if o.interfaces != [ ] then
          o.interfaces
        else if o.openFirewall == null then
          vpnInterfaces
        else
          [ ];
      everywhere = lib.any (o: o.openFirewall == true && o.interfaces == [ ]) openings;
      open = lib.unique (concatMap chosen openings);
    in
    {
      inherit where port what everywhere;
      interfaces = open;
      closed = !everywhere && open == [ ] && lib.any (o: o.openFirewall != false) openings;
    };

  # Names that would keep the firewall from starting.
  interfaceProblems =
    path: names:
    map (
      name: "${path}: ${builtins.toJSON name} is no name of an interface: 1 to 15 characters without spaces and slashes, such as tailscale0 or wg+"
    ) (filter (name: builtins.match "[^ /]{1,15}" name == null) names);

  # One warning for all ports of an instance that stay closed without having been told
  # to, if there is a firewall at all.
  closedWarnings =
    config: opened:
    optionals (config.networking.firewall.enable or true) (mapAttrsToList (
      where: ports:
      "${where}: ${concatStringsSep ", " (map (o: "port ${toString o.port} (${o.what})") ports)}: closed, because this machine has no VPN interface that clanmon knows. "
      + ''Open with `interfaces = [ "eth1" ];`, or on all interfaces with `openFirewall = true;`; `openFirewall = false;` ends this warning.''
    ) (lib.groupBy (o: o.where) (filter (o: o.closed) opened)));

  # networking.firewall for a list of what openPort gave. nftables wants "zt*" where
  # iptables wants "zt+".
  firewall =
    { nftables, opened }:
    let
      pattern =
        name:
        let
          stem = lib.removeSuffix "+" (lib.removeSuffix "*" name);
        in
        if stem == name then name else stem + (if nftables then "*" else "+");
      names = lib.unique (map pattern (concatMap (o: o.interfaces) opened));
    in
    {
      allowedTCPPorts = map (o: o.port) (filter (o: o.everywhere) opened);
      interfaces = lib.genAttrs names (name: {
        allowedTCPPorts = map (o: o.port) (filter (o: elem name (map pattern o.interfaces)) opened);
      });
    };

  # The interfaces of this machine's VPNs. A WireGuard peer that is a way to the whole
  # internet is a provider, with strangers behind it, and what is in a configFile
  # nobody knows. Yggdrasil and Mycelium are open
  # to the world; only clan's own yggdrasil lets nobody but the clan in.
  vpnInterfaces =
    config:
    let
      tailscale = config.services.tailscale or { };
      nets = (config.networking.wireguard.interfaces or { }) // (config.networking.wg-quick.interfaces or { });
      private =
        net:
        (net.configFile or null) == null
        && !(lib.any (peer: lib.any (ip: lib.hasSuffix "/0" ip) (peer.allowedIPs or [ ])) (net.peers or [ ]));
    in
    # In userspace there is no interface: what comes in is from localhost.
    optional (tailscale.enable or false) (
      let
        name = tailscale.interfaceName or "tailscale0";
      in
      if name == "userspace-networking" then "lo" else name
    )
    ++ attrNames (filterAttrs (_: private) nets)
    ++ optional (config.services.zerotierone.enable or false) "zt+"
    ++ optional (
      (config.services.yggdrasil.enable or false)
      && (config.clan.core.networking.internalListenAddresses or [ ]) != [ ]
    ) (config.services.yggdrasil.settings.IfName or "ygg");
in
{
  inherit
    vocabulary
    kinds
    execArg
    plainFlag
    toFlags
    pastedSecrets
    openPort
    closedWarnings
    firewall
    vpnInterfaces
    ;

  exporter = import ./exporter.nix {
    inherit
      lib
      vocabulary
      kinds
      plainFlag
      toFlags
      pastedSecrets
      interfaceProblems
      ;
  };

  server = import ./server.nix {
    inherit
      lib
      vocabulary
      kinds
      pastedSecrets
      interfaceProblems
      ;
  };
}
