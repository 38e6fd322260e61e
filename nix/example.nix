# An inventory that uses everything; the first one in README.md is all that most need.
{
  machines = {
    hub.tags = [ "server" ];
    web1.tags = [
      "server"
      "web"
    ];
    db1.tags = [ "server" ];
    lap.tags = [ "laptop" ];
  };

  instances.monitoring = {
    module = {
      input = "clanmon";
      name = "clanmon";
    };

    roles.server = {
      settings.rules = [
        ''
          groups:
          - name: mine
            rules:
            - alert: BatteryEmpty
              expr: node_power_supply_capacity < 5
        ''
      ];
      machines.hub.settings = {
        # Options of services.prometheus pass through.
        retentionTime = "90d";
        globalConfig.scrape_interval = "30s";
        webExternalUrl = "https://monitoring.example.org/";

        # The clan's machines are discovered by themselves; these are others.
        discoveryMethod = [
          "inventory"
          "static"
        ];
        staticTargets.node = [ "printer@192.168.1.9" ];
        additionalScrapeConfigs = [
          {
            job_name = "router";
            static_configs = [ { targets = [ "192.168.1.1:9100" ]; } ];
          }
        ];

        # For machines of the clan; the printer is scraped over plain HTTP.
        tls.enable = true;

        notify.phone = {
          url = "ntfy://ntfy.sh/my-fleet?priority=4";
          secret = true;
        };
        notify.mail = {
          url = "mailto:ops@example.org?smarthost=mail.example.org:587&from=hub@example.org&username=hub";
          secretFile = "/run/secrets/mail-password";
        };
        heartbeat.secret = true;

        builtinRules = {
          disable = [ "MachineNew" ];
          set.FilesystemFull.threshold = 0.05;
        };

        backup = "all";
      };
    };

    roles.exporter = {
      # Not "all": that has macOS machines too, for which there is no exporter.
      tags.nixos = { };
      machines.lap.settings.availability = "intermittent";
      machines.web1.settings = {
        tags = [ "web" ];
        exporters.nginx = { };
      };
      machines.db1.settings = {
        host = "10.0.0.7";
        enabledCollectors = [ "temperature" ];
        exporters.postgres = { };
        exporters.redis.passwordFile = "/run/secrets/redis";
      };
    };
  };
}
