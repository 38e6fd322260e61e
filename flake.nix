{
  description = "clanmon: monitoring for a fleet of Linux machines";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
    # For the checks alone: let it follow yours.
    clan-core.url = "git+https://git.clan.lol/clan/clan-core";
    clan-core.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs = inputs: import ./nix/outputs.nix inputs;
}
