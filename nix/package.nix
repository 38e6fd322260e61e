# clanmon: bin/clanmon, the same program under the names prometheus and promtool,
# which is what services.prometheus.package asks for. bin/clanmon-exporter, the role
# exporter alone, is an output of its own, so that a machine without a server gets
# nothing but that. What belongs on somebody's PATH is `passthru.command`, which has
# bin/clanmon alone.
{
  lib,
  go ? {
    version = "1.26";
  },
  buildGoModule,
  # go.mod asks for Go 1.26.7; where nixpkgs' default is older, this is not. The
  # toolchain line of go.mod means nothing here: Nix has GOTOOLCHAIN=local.
  buildGo126Module ? buildGoModule,
  runCommand,
  # No name of a package of nixpkgs, such as version or commit: callPackage would
  # hand that over.
  buildVersion ? "unstable",
  buildCommit ? "",
  # Without the service discoveries of cloud providers: 66 MB in place of 116.
  withoutClouds ? false,
}:
let
  build = if lib.versionAtLeast go.version "1.26" then buildGoModule else buildGo126Module;
in
build (finalAttrs: {
  pname = if withoutClouds then "clanmon-slim" else "clanmon";
  version = buildVersion;

  src = import ./source.nix { inherit lib; };

  # `make nix` rewrites this line; `make test` says when that is due.
  vendorHash = "sha256-5F/bCTRXvpKU58AGg0YbsjCF20LbAKMtjJ85ol1UJ/k=";

  outputs = [
    "out"
    "exporter"
  ];
  subPackages = [
    "cmd/clanmon"
    "cmd/clanmon-exporter"
  ];
  env.CGO_ENABLED = 0;
  tags = lib.optionals withoutClouds [
    "remove_all_sd"
    "enable_dns_sd"
  ];
  ldflags = [
    "-s"
    "-w"
    "-X github.com/clanmon/clanmon/cmd/internal/cli.BuildVersion=${buildVersion}"
    "-X github.com/clanmon/clanmon/cmd/internal/cli.BuildCommit=${buildCommit}"
  ];

  # The tests want root, a systemd and upstream's programs; CI runs them.
  doCheck = false;

  postInstall = ''
    ln -s clanmon $out/bin/prometheus
    ln -s clanmon $out/bin/promtool
    moveToOutput bin/clanmon-exporter "$exporter"
    install -Dm444 -t $out/share/doc/clanmon LICENSE NOTICE
  '';

  doInstallCheck = true;
  installCheckPhase = ''
    $out/bin/clanmon version
    $exporter/bin/clanmon-exporter version
    $out/bin/clanmon rules > rules.yml
    $out/bin/promtool check rules rules.yml
    $out/bin/prometheus --help > /dev/null
  '';

  passthru = {
    # nixpkgs' prometheus has promtool in an output of this name.
    cli = finalAttrs.finalPackage;
    command = runCommand "clanmon-command" { } ''
      mkdir -p $out/bin
      ln -s ${finalAttrs.finalPackage}/bin/clanmon $out/bin/clanmon
    '';
  };

  meta = {
    description = "Monitoring for a fleet of machines: a drop-in for Prometheus, and its exporters, in one program";
    license = lib.licenses.asl20;
    platforms = lib.platforms.linux;
    mainProgram = "prometheus";
  };
})
