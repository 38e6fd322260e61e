# bin/clanmon, and in the output `exporter` bin/clanmon-exporter alone, so that a
# machine without a server gets nothing but that. The names prometheus and promtool,
# which services.prometheus.package needs, are in `passthru.prometheus`, so that they
# collide with nothing on anybody's PATH.
{
  lib,
  # go.mod needs Go 1.26.7, which nixpkgs has since 26.05.
  buildGoModule,
  runCommandLocal,
  testers,
  # No name of a package of nixpkgs, such as version or commit: callPackage would
  # pass that.
  buildVersion ? "0-unstable-1970-01-01",
  buildCommit ? "",
  # Without the service discoveries of cloud providers: 66 MB instead of 116.
  withoutClouds ? false,
}:
buildGoModule (finalAttrs: {
  pname = if withoutClouds then "clanmon-slim" else "clanmon";
  version = buildVersion;

  src = import ./source.nix { inherit lib; };

  # `make nix` rewrites this line; `make test` says when that is due.
  vendorHash = "sha256-NY95EUyojWr1XlF84W3de81rcFi9EvUUn5NcMGBc0h4=";

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
    "-X github.com/clanmon/clanmon/cmd/internal/cli.BuildVersion=${finalAttrs.version}"
    "-X github.com/clanmon/clanmon/cmd/internal/cli.BuildCommit=${buildCommit}"
  ];

  # The tests need root, a systemd and upstream's programs; CI runs them.
  doCheck = false;

  postInstall = ''
    moveToOutput bin/clanmon-exporter "$exporter"
    install -Dm444 -t $out/share/doc/clanmon LICENSE NOTICE
  '';

  doInstallCheck = true;
  installCheckPhase = ''
    runHook preInstallCheck
    $out/bin/clanmon version | grep -F ${finalAttrs.version}
    $exporter/bin/clanmon-exporter version
    $out/bin/clanmon rules > rules.yml
    $out/bin/clanmon check rules rules.yml
    runHook postInstallCheck
  '';

  passthru = {
    # For services.prometheus.package. nixpkgs' prometheus has promtool in an output
    # `cli`.
    prometheus = lib.fix (
      wrapper:
      runCommandLocal "${finalAttrs.pname}-prometheus-${finalAttrs.version}"
        {
          passthru.cli = wrapper;
          meta = finalAttrs.meta // {
            mainProgram = "prometheus";
          };
        }
        ''
          mkdir -p $out/bin
          ln -s ${finalAttrs.finalPackage}/bin/clanmon $out/bin/prometheus
          ln -s ${finalAttrs.finalPackage}/bin/clanmon $out/bin/promtool
        ''
    );
    tests.nixos = testers.runNixOSTest ./tests/nixos-vm.nix;
  };

  meta = {
    description = "Monitoring for a fleet of machines: a drop-in for Prometheus, and its exporters, in one program";
    homepage = "https://github.com/clanmon/clanmon";
    changelog = "https://github.com/clanmon/clanmon/blob/main/CHANGELOG.md";
    license = lib.licenses.asl20;
    # Nobody yet: it is for whoever brings it into nixpkgs.
    maintainers = [ ];
    platforms = lib.platforms.linux;
    mainProgram = "clanmon";
  };
})
