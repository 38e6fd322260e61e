# Both NixOS modules without clan, on one machine; a test in NixOS' format.
{
  name = "clanmon";
  nodes.machine = {
    imports = [
      ../nixos/server.nix
      ../nixos/exporter.nix
    ];
    services.prometheus.globalConfig.scrape_interval = "1s";
    services.clanmon.exporter = {
      enable = true;
      openFirewall = false;
    };
    services.clanmon.server = {
      enable = true;
      openFirewall = false;
      discoveryMethod = "static";
      staticTargets.node = [ "localhost" ];
    };
  };
  testScript = ''
    machine.wait_for_unit("clanmon-exporter.service")
    machine.wait_for_unit("prometheus.service")
    for job in ["node", "clanmon"]:
        machine.wait_until_succeeds(
            "curl -sSfG localhost:9090/api/v1/query --data-urlencode 'query=up{job=\"%s\"} == 1' | grep __name__" % job
        )
    machine.succeed("curl -sSf localhost:9100/metrics | grep 'node_scrape_collector_success{collector=\"timex\"} 1'")
    machine.succeed("clanmon snapshot --storage.tsdb.path=/var/lib/prometheus2/data --only-state /tmp/backup")
  '';
}
