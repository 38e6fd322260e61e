# A container or VM test in clan-core's format: a server and two machines, scraped by
# mutual TLS, whose certificates the vars generators make. For those who have Nix:
# `nix build .#checks.x86_64-linux.clan-service`.
{
  name = "clanmon";

  clan = {
    directory = ./.;
    inventory = {
      machines.hub = { };
      machines.web = { };

      instances.monitoring = {
        module.name = "clanmon";
        module.input = "self";

        roles.server.machines.hub.settings = {
          tls.enable = true;
          openFirewall = true;
          globalConfig.scrape_interval = "1s";
        };
        roles.exporter = {
          tags.all = { };
          settings.openFirewall = true;
          machines.web.settings.host = "web";
        };
      };
    };
  };

  testScript = _: ''
    start_all()
    web.wait_for_unit("clanmon-exporter.service")
    hub.wait_for_unit("prometheus.service")
    hub.wait_for_open_port(9090)

    def up(query):
        hub.wait_until_succeeds(
            "curl -sSfG localhost:9090/api/v1/query --data-urlencode 'query=%s == 1' | grep __name__" % query
        )

    up('up{job="node",machine="hub"}')
    up('up{job="node",machine="web"}')
    up('up{job="systemd",machine="web"}')

    # Nobody else gets in.
    hub.fail("curl -sSf http://web:9100/metrics")
    hub.fail("curl -sSfk https://web:9100/metrics")
  '';
}
