import { vector } from '../../api/prom';
import type { ComponentChildren } from 'preact';
import { Empty, ErrorNote, Snippet } from '../../components/bits';
import { Status } from '../../components/Status';
import { shortError } from '../../lib/errors';
import { direct, ofTotal } from '../../lib/limits';
import { useData } from '../../state/data';
import { Chart, has, useAbout } from './context';

const KINDS = [
  { job: 'nginx', title: 'nginx', up: 'nginx_up', C: Nginx },
  { job: 'postgres', title: 'PostgreSQL', up: 'pg_up', C: Postgres },
  { job: 'redis', title: 'Redis', up: 'redis_up', C: Redis },
];

export function Backends() {
  const a = useAbout();
  const up = useData(`backends ${a.m} ${a.when ?? ''}`, (s) =>
    vector(`{__name__=~"nginx_up|pg_up|redis_up",${a.m}}`, a.when, s),
  );
  const shown = KINDS.filter((k) => a.jobs.includes(k.job) || has(a, k.up));
  if (!shown.length)
    return (
      <div class="panel">
        <Empty
          icon="info"
          title="No backends"
          why="nginx, PostgreSQL and Redis appear here once their exporter on this machine is scraped."
        >
          <Snippet text="clanmon exporter --exporter node,systemd,nginx,postgres,redis" />
        </Empty>
      </div>
    );
  return (
    <>
      <ErrorNote error={up.error} what="The backends could not be loaded" />
      {shown.map(({ job, title, up: metric, C }) => {
        const target = a.machine?.targets?.find((t) => t.job === job);
        const values = (up.data ?? []).filter((v) => v.metric.__name__ === metric);
        const dead = values.filter((v) => v.value?.[1] === '0');
        let state: ComponentChildren = null;
        if (target?.health === 'down')
          state = (
            <Status level="crit" icon="down" badge>
              exporter down
            </Status>
          );
        else if (dead.length)
          state = (
            <Status level="crit" icon="down" badge>
              down{values.length > 1 && `: ${dead.length} of ${values.length}`}
            </Status>
          );
        else if (values.length)
          state = (
            <Status level="ok" badge>
              up
            </Status>
          );
        return (
          <section class={`mgrid${target?.health === 'down' ? ' old' : ''}`} key={job} aria-label={title}>
            <h2>
              {title} {state}{' '}
              {target?.health === 'down' && (
                <span class="dim wrap" style={{ fontWeight: 400 }}>
                  {shortError(target.lastError)}
                </span>
              )}
            </h2>
            <C />
          </section>
        );
      })}
    </>
  );
}

const of = (l: Record<string, string>, what: string) => (l.instance && what ? what : (l.instance ?? what));

function Nginx() {
  const { m } = useAbout();
  return (
    <>
      <Chart
        title="nginx requests"
        unit="perSecond"
        min={0}
        queries={[{ expr: `rate(nginx_http_requests_total{${m}}[$rate])`, name: (l) => of(l, 'requests') }]}
      />
      <Chart
        title="nginx connections"
        unit="count"
        min={0}
        queries={['active', 'reading', 'writing', 'waiting'].map((s) => ({
          expr: `nginx_connections_${s}{${m}}`,
          name: () => s,
        }))}
      />
      <Chart
        title="nginx accepted and dropped"
        unit="perSecond"
        min={0}
        queries={[
          { expr: `rate(nginx_connections_accepted{${m}}[$rate])`, name: () => 'accepted' },
          {
            expr: `clamp_min(rate(nginx_connections_accepted{${m}}[$rate]) - rate(nginx_connections_handled{${m}}[$rate]), 0)`,
            name: () => 'dropped',
            colour: () => 'var(--crit)',
          },
        ]}
      />
    </>
  );
}

function Postgres() {
  const a = useAbout();
  const { m } = a;
  const db = `${m},datname!~"template.*|"`;
  const servers = a.machine?.targets?.filter((t) => t.job === 'postgres').length ?? 1;
  return (
    <>
      <Chart
        title="PostgreSQL transactions"
        unit="perSecond"
        min={0}
        queries={[
          { expr: `rate(pg_stat_database_xact_commit{${db}}[$rate])`, name: (l) => l.datname ?? 'committed' },
          {
            expr: `rate(pg_stat_database_xact_rollback{${db}}[$rate]) > 0`,
            name: (l) => `${l.datname ?? ''} rolled back`,
          },
        ]}
      />
      <Chart
        title="PostgreSQL connections"
        unit="count"
        min={0}
        stack
        // The chart is of all servers of the machine, the rule of each.
        limits={(all, lines) =>
          servers > 1
            ? []
            : ofTotal(all, 'PostgresConnectionsAlmostGone', /pg_stat_activity_count/, lines, 'limit', 'total')
        }
        queries={[
          { expr: `sum by (machine, state) (pg_stat_activity_count{${m}})`, name: (l) => l.state || 'connections' },
          {
            expr: `max by (machine) (pg_settings_max_connections{${m}})`,
            name: () => 'limit',
            line: true,
            colour: () => 'var(--series-8)',
          },
        ]}
      />
      <Chart
        title="PostgreSQL cache hits"
        unit="ratio"
        min={0}
        max={1}
        queries={[
          {
            expr: `sum by (machine) (rate(pg_stat_database_blks_hit{${db}}[$rate])) / (sum by (machine) (rate(pg_stat_database_blks_hit{${db}}[$rate]) + rate(pg_stat_database_blks_read{${db}}[$rate])) > 0)`,
            name: () => 'read from memory',
          },
        ]}
        empty={{ title: 'No reads in this range' }}
      />
      <Chart
        title="PostgreSQL size"
        unit="bytes"
        min={0}
        stack
        queries={[{ expr: `pg_database_size_bytes{${db}}`, name: (l) => l.datname ?? '' }]}
      />
      <Chart
        title="PostgreSQL longest transaction"
        unit="seconds"
        min={0}
        limits={(all) => direct(all, 'PostgresLongTransaction', /pg_stat_activity_max_tx_duration/)}
        queries={[
          { expr: `max by (machine, datname) (pg_stat_activity_max_tx_duration{${db}})`, name: (l) => l.datname ?? '' },
        ]}
        empty={{ title: 'No open transactions in this range' }}
      />
      <Chart
        title="PostgreSQL deadlocks and conflicts"
        unit="count"
        min={0}
        max={1}
        queries={[
          { expr: `sum by (machine) (increase(pg_stat_database_deadlocks{${db}}[$rate]))`, name: () => 'deadlocks' },
          { expr: `sum by (machine) (increase(pg_stat_database_conflicts{${db}}[$rate]))`, name: () => 'conflicts' },
        ]}
      />
      {has(a, 'pg_replication_lag_seconds') && (
        <Chart
          title="PostgreSQL replication lag"
          unit="seconds"
          min={0}
          hideEmpty
          queries={[
            {
              expr: `pg_replication_lag_seconds{${m}} and on (instance) pg_replication_is_replica{${m}} == 1`,
              name: () => 'lag',
            },
          ]}
        />
      )}
    </>
  );
}

function Redis() {
  const { m } = useAbout();
  return (
    <>
      <Chart
        title="Redis commands"
        unit="perSecond"
        min={0}
        queries={[{ expr: `rate(redis_commands_processed_total{${m}}[$rate])`, name: (l) => of(l, 'commands') }]}
      />
      <Chart
        title="Redis hit ratio"
        unit="ratio"
        min={0}
        max={1}
        queries={[
          {
            expr: `rate(redis_keyspace_hits_total{${m}}[$rate]) / (rate(redis_keyspace_hits_total{${m}}[$rate]) + rate(redis_keyspace_misses_total{${m}}[$rate]) > 0)`,
            name: () => 'found',
          },
        ]}
        empty={{ title: 'No lookups in this range' }}
      />
      <Chart
        title="Redis memory"
        unit="bytes"
        min={0}
        limits={(all, lines) => ofTotal(all, 'RedisMemoryAlmostGone', /^redis_memory_used_bytes/, lines, 'limit')}
        queries={[
          { expr: `redis_memory_used_bytes{${m}}`, name: () => 'used' },
          {
            expr: `redis_memory_max_bytes{${m}} > 0`,
            name: () => 'limit',
            line: true,
            colour: () => 'var(--series-8)',
          },
        ]}
      />
      <Chart
        title="Redis clients"
        unit="count"
        min={0}
        queries={[
          { expr: `redis_connected_clients{${m}}`, name: () => 'connected' },
          { expr: `redis_blocked_clients{${m}}`, name: () => 'blocked' },
        ]}
      />
      <Chart
        title="Redis keys"
        unit="count"
        min={0}
        stack
        queries={[{ expr: `redis_db_keys{${m}} > 0`, name: (l) => l.db ?? '' }]}
        empty={{ title: 'No keys in this range' }}
      />
      <Chart
        title="Redis evicted and expired"
        unit="perSecond"
        min={0}
        queries={[
          { expr: `rate(redis_evicted_keys_total{${m}}[$rate])`, name: () => 'evicted' },
          { expr: `rate(redis_expired_keys_total{${m}}[$rate])`, name: () => 'expired' },
          {
            expr: `rate(redis_rejected_connections_total{${m}}[$rate])`,
            name: () => 'rejected clients',
            colour: () => 'var(--crit)',
          },
        ]}
      />
    </>
  );
}
