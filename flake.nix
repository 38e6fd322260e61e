{
  description = "clanmon: monitoring for a fleet of Linux machines";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs = inputs: import ./nix/outputs.nix inputs;
}
