# clanmon: bin/clanmon, and the same program under the names prometheus and
# promtool, which is what services.prometheus.package asks for. What belongs on
# somebody's PATH is `passthru.command`, which has bin/clanmon alone.
{
  lib,
  buildGoModule,
  # go.mod asks for Go 1.26; where nixpkgs' default is older, this is not.
  buildGo126Module ? buildGoModule,
  runCommand,
  version ? "unstable",
  commit ? "",
  # Without the service discoveries of cloud providers: 66 MB in place of 116.
  slim ? false,
}:
buildGo126Module (finalAttrs: {
  pname = if slim then "clanmon-slim" else "clanmon";
  inherit version;

  src = import ./source.nix { inherit lib; };

  # `make nix` rewrites this line; `make test` says when that is due.
  vendorHash = "sha256-CtJ6TzrfURF9afzTB/kTW7CcEW6qz7mcAxaP13VAhhc=";

  subPackages = [ "cmd/clanmon" ];
  env.CGO_ENABLED = 0;
  tags = lib.optionals slim [
    "remove_all_sd"
    "enable_dns_sd"
  ];
  ldflags = [
    "-s"
    "-w"
    "-X main.buildVersion=${version}"
    "-X main.buildCommit=${commit}"
  ];

  # The tests want root, a systemd and upstream's programs; CI runs them.
  doCheck = false;

  postInstall = ''
    ln -s clanmon $out/bin/prometheus
    ln -s clanmon $out/bin/promtool
    install -Dm444 -t $out/share/doc/clanmon LICENSE NOTICE
  '';

  doInstallCheck = true;
  installCheckPhase = ''
    $out/bin/clanmon version
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
