# What both roles share.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.clanmon;
in
{
  options.services.clanmon = {
    package = lib.mkOption {
      type = lib.types.package;
      default = pkgs.callPackage ../package.nix { };
      defaultText = lib.literalExpression "clanmon.packages.\${system}.clanmon";
      description = "The package of both roles.";
    };
    # Set by the clan service, by whichever name it is used.
    serverInstances = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      internal = true;
      visible = false;
      description = "Clan instances that want to set up services.prometheus.";
    };
    exporterServices = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      internal = true;
      visible = false;
      description = "Clan services that want to set up services.clanmon.exporter, by their instances.";
    };
  };

  config.assertions = [
    {
      assertion = lib.length cfg.serverInstances < 2;
      message = "${lib.concatStringsSep " and " cfg.serverInstances}: there is one services.prometheus on a machine; give the role to another machine in one of them, or merge the instances";
    }
    {
      assertion = lib.length cfg.exporterServices < 2;
      message = "${lib.concatStringsSep " and " cfg.exporterServices}: there is one exporter process on a machine, for the instances of one service; give all of them the same module.name";
    }
  ];
}
