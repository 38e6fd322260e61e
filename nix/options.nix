# The options that the clan service and the NixOS modules share. They hold nothing
# that a JSON schema cannot express.
{ lib }:
let
  inherit (lib) mkOption types;
  inherit (import ./lib.nix { inherit lib; }) vocabulary;

  nullable =
    type: args:
    mkOption (
      {
        type = types.nullOr type;
        default = null;
      }
      // args
    );
  list =
    type: args:
    mkOption (
      {
        type = types.listOf type;
        default = [ ];
      }
      // args
    );
  attrs =
    type: args:
    mkOption (
      {
        type = types.attrsOf type;
        default = { };
      }
      // args
    );
  flag =
    default: description:
    mkOption {
      type = types.bool;
      inherit default description;
    };

  firewall = {
    openFirewall = nullable types.bool {
      description = ''
        Interfaces on which the port is open: `true` opens it on all interfaces, `false` on
        none, `null` on those of this machine's VPNs (Tailscale, WireGuard, ZeroTier, and
        yggdrasil of clan-core). `interfaces` narrows it down.
      '';
    };
    interfaces =
      list
        (types.addCheck (
          types.str
          // {
            description = "name of a network interface (1 to 15 characters without spaces and slashes)";
          }
        ) (name: builtins.isString name && builtins.match "[^ /]{1,15}" name != null))
        {
          example = [ "tailscale0" ];
          description = ''
            Open the port on these interfaces only. A name may end in `+` for all that begin so.
            Works with iptables and with nftables.
          '';
        };
  };

  collector = types.enum (vocabulary.collectors ++ lib.attrNames vocabulary.words);
  enabledCollectors = list collector {
    example = [
      "systemd"
      "temperature"
    ];
    description = ''
      Collectors of the node exporter in addition to the default ones: names of
      node_exporter, or everyday words such as `cpu`, `memory`, `disk`, `network`, `systemd`.
      `clanmon exporter --list-collectors` lists them.
    '';
  };
  disabledCollectors = list collector {
    example = [ "wifi" ];
    description = "Collectors of the node exporter to turn off, in the same words.";
  };

  file = description: nullable types.path { inherit description; };
  text = description: nullable types.str { inherit description; };
  sections =
    lib.mapAttrs
      (
        kind: special:
        nullable
          (types.submodule {
            options = {
              enable = flag true "Whether to run this exporter.";
              port = nullable types.port {
                description = "Port; `null` is the usual one.";
              };
              listenAddress = text "Address to listen on; `null` is all addresses.";
              extraFlags = list types.str { description = "Extra command line flags."; };
              settings =
                attrs
                  (types.oneOf [
                    types.bool
                    types.int
                    types.float
                    types.str
                    (types.listOf types.str)
                  ])
                  {
                    description = "Any flag of `clanmon exporter` by its name without the dashes.";
                  };
              inherit (firewall) interfaces;
              openFirewall = nullable types.bool {
                description = "As `openFirewall` of the role, which `null` inherits.";
              };
            }
            // special;
          })
          {
            description = "The ${kind} exporter. `{ }` runs it with its defaults.";
          }
      )
      {
        node = { inherit enabledCollectors disabledCollectors; };
        systemd = { };
        nginx = {
          scrapeUri = text "URL of nginx' status page; `null` is that of this machine's nginx.";
          sslVerify = nullable types.bool {
            description = "Whether to verify the certificate of the status page.";
          };
          constLabels = list types.str { description = "Labels of all metrics, as `name=value`."; };
        };
        postgres = {
          dataSourceName = text "Connection string; `null` is this machine's PostgreSQL.";
          dsnFile = file "File with the connection string, for one with a password.";
          environmentFile = file "File with environment variables, such as `DATA_SOURCE_NAME`.";
        };
        redis = {
          addr = text "URL of the server; `null` is this machine's Redis.";
          passwordFile = file "File with the password.";
        };
        blackbox = {
          configFile = file "Modules, in the format of blackbox_exporter; checks of a server need none.";
          allow = list types.str {
            example = [
              "cloud.example.org"
              "10.0.0.*:*"
            ];
            description = "Targets that may be probed: `HOST`, `HOST:PORT`, a pattern, or `*`. Empty is any with `configFile`, and none without.";
          };
        };
      };

  method = types.enum [
    "none"
    "inventory"
    "tailscale"
    "dns"
    "static"
  ];
in
{
  inherit firewall;

  exporter = {
    exporterType = nullable (types.enum (lib.attrNames vocabulary.ports)) {
      example = "nginx";
      description = ''
        The main exporter of this machine; `null` is `node`. Its options may stand next to
        this one. `node` brings `systemd` along, unless `exporters.systemd.enable` is `false`.
      '';
    };
    exporters = sections;
    port = nullable types.port {
      description = "Port of the exporter that `exporterType` names; `null` is the usual one.";
    };
    inherit enabledCollectors disabledCollectors;
    inherit (firewall) openFirewall interfaces;
    look = {
      enable = flag false ''
        Let operators of the server read the journal and list the processes of this machine, on demand. Needs
        mutual TLS (`tls.enable` of the server), or `look.from`.
      '';
      units = list types.str {
        example = [
          "nginx"
          "postgresql*"
        ];
        description = "Units that may be looked at, or patterns; empty is all units.";
      };
      from = list types.str {
        example = [ "tag:monitor" ];
        description = "Nodes or tags of the tailnet whose server may look, if there is no mutual TLS.";
      };
    };
    history = {
      enable = nullable types.bool {
        description = ''
          Keep what the exporters gather on disk, so that the server can fill its gaps; `null` is `true` with clan,
          `false` without. See docs/history.md.
        '';
      };
      keep = nullable types.str {
        example = "48h";
        description = "How much is kept, as running time; `null` is `24h`.";
      };
      maxBytes = nullable types.str {
        example = "1GiB";
        description = "Maximum size on disk; `null` is `256MiB`.";
      };
    };
    noteDeploys = {
      enable = flag false ''
        Add a note to the changes that the server shows when this machine activates another system, such as by
        `clan machines update`. See docs/events.md.
      '';
      server = nullable types.str {
        example = "http://hub:9090";
        description = "URL of the server. With clan, `null` is the server of the instance, if it has one.";
      };
      httpConfigFile = nullable types.path {
        description = "HTTP client configuration (as promtool's) with the credentials of an operator, if the server requires them; only root has to be able to read it.";
      };
    };
  };

  server = {
    enableAutoDiscovery = flag true "Whether to discover machines; `false` leaves `additionalScrapeConfigs` and `scrapeConfigs`.";
    discoveryMethod = nullable (types.either method (types.listOf method)) {
      example = [
        "inventory"
        "tailscale"
      ];
      description = ''
        One or several methods to discover machines: `inventory`, the machines of this clan
        with the role exporter; `tailscale`, the Linux machines of the tailnet; `dns`;
        `static`; `none`. `null` is `inventory` if it has machines, else `none`.
      '';
    };
    dnsDiscovery =
      attrs
        (types.submodule {
          options = {
            names = list types.str {
              description = "Names to look up; `*.NAME` is every name of a zone that may be transferred.";
            };
            type = mkOption {
              type = types.enum [
                "A"
                "AAAA"
                "SRV"
                "MX"
                "NS"
              ];
              default = "A";
              description = "Type of the records.";
            };
            port = nullable types.port { description = "Port; `null` is the usual one of the job."; };
          };
        })
        {
          example = {
            node = {
              names = [ "*.monitoring.example.org" ];
              type = "A";
              port = 9100;
            };
          };
          description = "DNS names by job, for the method `dns`.";
        };
    staticTargets = attrs (types.listOf types.str) {
      example = {
        node = [
          "10.0.0.1"
          "db@10.0.0.7:9101"
        ];
      };
      description = "Targets by job, `[NAME@]HOST[:PORT]`, for the method `static`.";
    };
    tailscale = {
      socket = text "Socket of tailscaled, if it is not in the usual place.";
      jobs = list types.str {
        example = [
          "node"
          "nginx@tag:web"
        ];
        description = "What to scrape on each machine of the tailnet, `JOB[:PORT][@TAG,…]`; empty is all six jobs. A machine counts once it has responded.";
      };
      tags = list types.str {
        description = "Only machines that have one of these tags in the tailnet.";
      };
      intermittentTags = list types.str {
        description = "Tags of machines that are not always on; empty is `laptop` and `intermittent`.";
      };
    };
    checks =
      attrs
        (types.submodule {
          options = {
            url = mkOption {
              type = types.str;
              example = "https://cloud.example.org";
              description = "What to check: `https://`, `http://`, `tcp://`, `tls://`, `smtp+starttls://`, `imap+starttls://`, `pop3+starttls://`, `ping://` or `dns://SERVER/NAME`.";
            };
            every = text "Interval, from `5s` to `2m`; `null` is `1m`.";
            timeout = text "Time after which the check fails; `null` is `10s`.";
            expect = {
              status = list types.int { description = "HTTP status codes; empty is any 2xx."; };
              body = text "Regular expression that the response has to match.";
              certificateDays = nullable types.int {
                description = "Days before a certificate expires from which on an alert fires; `null` is 14.";
              };
            };
            from = list types.str {
              example = [
                "hub"
                "web1"
              ];
              description = "Machines that check, with the exporter `blackbox`; empty is the server.";
            };
            machine = text "Machine that runs the service: no alert is sent while it is down.";
            severity =
              nullable
                (types.enum [
                  "warning"
                  "critical"
                ])
                {
                  description = "Severity of the alert; `null` is `warning`.";
                };
          };
        })
        {
          example = {
            cloud.url = "https://cloud.example.org";
          };
          description = "Services to check from outside.";
        };
    pings =
      attrs
        (types.submodule {
          options = {
            every = text "Interval of successes, from `1m` to `1y`; `null` is never overdue.";
            grace = text "How much later is still in time; `null` is `1h`.";
            machine = text "Machine that the job belongs to. With clan it gets the token, as `/etc/clanmon/ping/NAME`.";
            backup = flag false "The job makes a backup.";
            tokenFile = file "File on the server with the token; only root has to be able to read it. With clan, `null` makes one.";
          };
        })
        {
          example = {
            photos = {
              every = "1d";
              machine = "nas";
              backup = true;
            };
          };
          description = "Jobs that report to `/ping/TOKEN`, see docs/jobs.md.";
        };
    backupUnits = list types.str {
      example = [ "my-dump-*" ];
      description = "Services that make backups, in addition to those that are known by name. `*` is any text.";
    };
    push = {
      enable = flag false "Accept samples from machines that push them, see docs/push.md.";
      availability = text "Whether these machines are meant to be on: `always` or `intermittent`; `null` is `intermittent`.";
      seriesLimit = nullable types.int {
        description = "Maximum number of series per machine that pushes; `0` means no limit, `null` means `50000`.";
      };
      tokens = attrs types.str {
        example = {
          laptop = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        };
        description = "SHA-256 of the tokens of machines, by machine, in addition to those of `identity.tokenFile`. With clan, those of machines with `push.enable` are added.";
      };
    };
    boards = list types.path {
      description = "Boards to show read-only, see docs/boards.md. A build fails if one is invalid.";
    };
    grafana.enable = flag false ''
      Give the Grafana of this machine (`services.grafana`) this server as its data source, and
      `boards` as dashboards.
    '';
    backfill = {
      enable = nullable types.bool {
        description = "Fill gaps with what the exporters of machines kept; `null` is with discovery. See docs/history.md.";
      };
      maxAge = nullable types.str {
        example = "48h";
        description = "How far back gaps are filled; `null` is `24h`.";
      };
    };
    query = {
      url = nullable types.str {
        example = "http://mimir.example.org/prometheus";
        description = "Prometheus, Mimir, Thanos or VictoriaMetrics from which pages read samples that are older than those of this server. See docs/scale.md.";
      };
      dialect = nullable types.str {
        example = "mimir";
        description = "Product at `query.url`: `prometheus`, `thanos`, `mimir` or `victoriametrics`; `null` is `prometheus`.";
      };
      configFile = file "File on the machine with settings of requests to `query.url`, such as `basic_auth` and `http_headers`.";
    };
    look.enable = flag false ''
      Let operators look at machines whose exporters have `look.enable`. The server must know who
      asks; see docs/security.md.
    '';
    identity = {
      operators = list types.str {
        example = [
          "alice@example.com"
          "tag:admin"
          "group:admins"
        ];
        description = "Who may make changes: names of users, `tag:NAME`, `group:NAME`, or `identified`; see docs/security.md.";
      };
      viewers = list types.str {
        example = [ "identified" ];
        description = "Who may read, in the same form, or `*`. Empty is everybody.";
      };
      header = text "HTTP header in which a trusted proxy sends the name of the user, such as `Remote-User`.";
      groupsHeader = text "HTTP header in which it sends the user's groups.";
      trustedProxies = list types.str {
        example = [ "127.0.0.1" ];
        description = "Addresses or networks of proxies whose headers are believed.";
      };
      tokenFile = file "File on the machine with tokens of programs: lines `NAME ROLE SHA256`. The role `machine` is for machines that push.";
      oidc = {
        issuer = text "URL of an OpenID Connect provider at which people log in.";
        clientId = text "Client ID of the server at the provider.";
        clientSecretFile = file "File on the machine with the client secret.";
        scopes = list types.str { description = "Scopes in addition to openid, profile and email."; };
        nameClaim = text "Claim of the ID token that names the user; `null` is `email`.";
      };
    };
    additionalScrapeConfigs = list types.anything {
      example = [
        {
          job_name = "router";
          static_configs = [ { targets = [ "192.168.1.1:9100" ]; } ];
        }
      ];
      description = "Scrape configurations in addition to what is discovered, as in prometheus.yml. NixOS' `scrapeConfigs` accepts fewer options.";
    };
    tls = {
      enable = flag false ''
        Mutual TLS between servers and exporters: an exporter responds only to clients with a
        certificate of a server, and servers scrape targets of `tls.methods` over HTTPS.
      '';
      methods = list method {
        example = [
          "inventory"
          "tailscale"
        ];
        description = "Discovery methods whose targets have such certificates; empty is `inventory`. Targets of other methods are scraped over plain HTTP.";
      };
      pages = flag false ''
        Serve pages and API over HTTPS too, with the machine's certificate. Browsers have to
        trust the authority; clients need no certificate of their own.
      '';
    };
    notify =
      attrs
        (types.submodule {
          options = {
            url = mkOption {
              type = types.str;
              example = "ntfy://ntfy.sh/my-fleet";
              description = "Receiver, as for `clanmon server --notify`, without the secret.";
            };
            secret = flag false "Clan prompts for the token (mailto: the password; discord, msteams, slack and webhook: the URL) and keeps it.";
            secretFile = file "File on the machine with the secret; only root has to be able to read it.";
          };
        })
        {
          example = {
            ops = {
              url = "ntfy://ntfy.sh/my-fleet";
              secret = true;
            };
          };
          description = "Receivers of alerts.";
        };
    notifications = {
      quiet = list types.str {
        example = [ "22:00-07:00" ];
        description = "Hours in which only critical alerts are sent to `notify`: `[DAYS ]HH:MM-HH:MM`, for example `fri,sat 23:00-09:00`.";
      };
      digest =
        nullable
          (types.enum [
            "daily"
            "weekly"
          ])
          {
            description = "Report about machines, alerts, disks, backups and certificates that is sent to `notify`; `null` is none.";
          };
      digestAt = text "When the digest is sent: `[DAY ]HH:MM`; `null` is `mon 08:00`.";
      timeZone = text "Time zone of these times, for example `Europe/Berlin`; `null` is that of the machine.";
    };
    heartbeat = {
      secret = flag false "Clan prompts for the URL of a dead man's switch (such as healthchecks.io). It is requested every minute while alerts are evaluated.";
      secretFile = file "File on the machine with that URL.";
    };
    alertmanagerConfig = nullable (types.attrsOf types.anything) {
      description = "A whole alertmanager.yml for the server's own notifications, if `notify` is not enough. Secrets by files.";
    };
    builtinRules = {
      enable = nullable types.bool {
        description = "Whether to evaluate the built-in rules; `null` is yes if machines are discovered.";
      };
      disable = list (types.enum (lib.attrNames vocabulary.rules)) {
        example = [ "FilesystemFull" ];
        description = "Built-in rules to leave out.";
      };
      set =
        attrs
          (types.attrsOf (
            types.oneOf [
              types.int
              types.float
              types.str
            ]
          ))
          {
            example = {
              FilesystemFull.threshold = 0.05;
            };
            description = "Settings of built-in rules; `clanmon rules` lists them.";
          };
    };
    inherit (firewall) openFirewall interfaces;
  };
}
