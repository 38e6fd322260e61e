import { useMemo } from 'preact/hooks';
import { discovery } from '../api/clanmon';
import { request } from '../api/client';
import { vector } from '../api/prom';
import type { RelabelStep, Target, Targets } from '../api/types/targets';
import {
  Ago,
  Empty,
  ErrorNote,
  LabelList,
  LastAnswer,
  Loading,
  Menu,
  Overlay,
  Panel,
  Snippet,
  safeLink,
} from '../components/bits';
import { Status } from '../components/Status';
import { Table, type Column } from '../components/Table';
import { Tabs } from '../components/Tabs';
import { shortError } from '../lib/errors';
import { format, seconds } from '../lib/format';
import { agent } from '../state/config';
import { useData } from '../state/data';
import { hereWith, href, location, machinePath, param, setParams, tagFilter } from '../state/location';

const several = (n: number, what: string) => `${n.toLocaleString('en')} ${what}${n === 1 ? '' : 's'}`;
const keyOf = (t: Target) => `${t.scrapePool} ${t.scrapeUrl}`;
const machineOf = (t: Target) => t.labels.machine ?? t.labels.instance ?? t.scrapeUrl;

// A machine that is off now and then is no trouble while it is.
const away = (t: Target) => t.health === 'down' && t.labels.availability === 'intermittent';

function TargetHealth({ t }: { t: Target }) {
  return t.health === 'up' ? (
    <Status level="ok">up</Status>
  ) : away(t) ? (
    <span title="Its machine is intermittent: it may be off">
      <Status level="off" icon="down">
        down
      </Status>
    </span>
  ) : t.health === 'down' ? (
    <Status level="crit" icon="down">
      down
    </Status>
  ) : (
    <Status level="off" icon="wait">
      not scraped yet
    </Status>
  );
}

export default function TargetsPage() {
  const asked = useData('targets', (s) => request<Targets>('/api/v1/targets', { signal: s }));
  const tab = location.value.path === '/service-discovery' ? 'discovery' : param('tab', 'targets');
  const all = asked.data?.activeTargets ?? [];
  const down = all.filter((t) => t.health === 'down').length;
  return (
    <>
      <div class="pagehead">
        <h1>Targets</h1>
        {asked.data && (
          <span class="dim">
            {several(all.length, 'target')} in {several(new Set(all.map((t) => t.scrapePool)).size, 'job')}
            {down ? `, ${down} down` : ''}
          </span>
        )}
        <LastAnswer time={asked.time} />
      </div>
      <Tabs
        label="Targets and discovery"
        current={tab}
        tabs={[
          { id: 'targets', title: 'Targets' },
          { id: 'discovery', title: 'Discovery' },
        ]}
        links={(id) => href('/targets', { tab: id === 'targets' ? null : id })}
      />
      <ErrorNote
        error={asked.error}
        what={asked.data ? 'The last answer failed; this is from before' : 'The targets could not be loaded'}
      />
      {!asked.data ? (
        !asked.error && <Loading lines={5} />
      ) : (
        <div class={`stack${asked.error ? ' stale' : ''}`}>
          {tab === 'discovery' ? <DiscoveryTab t={asked.data} /> : <TargetList all={all} />}
        </div>
      )}
    </>
  );
}

function TargetList({ all }: { all: Target[] }) {
  const samples = useData(
    agent ? null : 'target samples',
    (s) => vector('scrape_samples_post_metric_relabeling', undefined, s),
    60,
  );
  const machines = useData(
    agent || !tagFilter.value ? null : 'target machines',
    (s) => request<{ machine: string; tags: string[] | null }[]>('/api/clanmon/v1/machines', { signal: s }),
    60,
  );
  const count = useMemo(
    () => new Map((samples.data ?? []).map((v) => [`${v.metric.job} ${v.metric.instance}`, Number(v.value?.[1])])),
    [samples.data],
  );
  // search, pool or scrapePool, and health, several times perhaps, are
  // Prometheus' own parameters.
  const text = param('q', param('search'));
  const pool = param('pool', param('scrapePool'));
  const healths = location.value.params.getAll('health').filter(Boolean);
  const grouped = param('group') === 'machine';
  const tagged = useMemo(
    () =>
      machines.data
        ? new Set(machines.data.filter((m) => m.tags?.includes(tagFilter.value)).map((m) => m.machine))
        : undefined,
    [machines.data, tagFilter.value],
  );
  const rows = useMemo(
    () =>
      all.filter(
        (t) =>
          (!pool || t.scrapePool === pool) &&
          (!healths.length || healths.includes(t.health)) &&
          (!tagged || tagged.has(t.labels.machine ?? '')) &&
          (!text ||
            text
              .toLowerCase()
              .split(/\s+/)
              .every((w) =>
                `${machineOf(t)} ${t.scrapePool} ${t.scrapeUrl} ${t.lastError} ${Object.entries(t.labels)
                  .map(([k, v]) => `${k}=${v}`)
                  .join(' ')}`
                  .toLowerCase()
                  .includes(w),
              )),
      ),
    [all, text, pool, healths.join(), tagged],
  );
  const pools = [...new Set(all.map((t) => t.scrapePool))].sort();
  const open = param('target');
  const opened = all.find((t) => keyOf(t) === open);
  const columns: Column<Target>[] = [
    {
      id: 'health',
      title: 'Health',
      width: '132px',
      sort: (t) => (away(t) ? 1 : { down: 0, unknown: 2, up: 3 }[t.health]),
      cell: (t) => <TargetHealth t={t} />,
    },
    {
      id: 'machine',
      title: 'Machine',
      class: 'ellipsis',
      min: 130,
      sort: (t) => `${machineOf(t)} ${t.scrapePool}`,
      cell: (t) =>
        t.labels.machine && !agent ? (
          <a href={href(machinePath(t.labels.machine))}>
            <b>{t.labels.machine}</b>
          </a>
        ) : (
          <b>{machineOf(t)}</b>
        ),
    },
    {
      id: 'job',
      title: 'Job',
      class: 'ellipsis',
      width: '110px',
      sort: (t) => t.scrapePool,
      cell: (t) => t.scrapePool,
    },
    {
      id: 'url',
      title: 'Address',
      class: 'ellipsis',
      min: 200,
      rank: 2,
      sort: (t) => t.scrapeUrl,
      cell: (t) => (
        <span class="mono" title={t.scrapeUrl}>
          {t.scrapeUrl.replace(/^http:\/\//, '')}
        </span>
      ),
    },
    {
      id: 'error',
      title: 'Error',
      class: 'ellipsis',
      min: 180,
      sort: (t) => t.lastError,
      cell: (t) =>
        t.lastError && (
          <span class={`status ${away(t) ? 'off' : 'crit'}`} title={t.lastError}>
            {shortError(t.lastError)}
          </span>
        ),
    },
    {
      id: 'last',
      title: 'Last scrape',
      num: true,
      width: '116px',
      rank: 1,
      sort: (t) => Date.parse(t.lastScrape),
      cell: (t) => (t.health === 'unknown' ? '–' : <Ago time={Date.parse(t.lastScrape) / 1000} suffix=" ago" />),
    },
    {
      id: 'duration',
      title: 'Duration',
      num: true,
      width: '96px',
      rank: 3,
      sort: (t) => t.lastScrapeDuration,
      cell: (t) => (t.health === 'unknown' ? '–' : seconds(t.lastScrapeDuration)),
    },
    {
      id: 'samples',
      title: 'Samples',
      num: true,
      width: '96px',
      rank: 4,
      sort: (t) => count.get(`${t.labels.job} ${t.labels.instance}`),
      cell: (t) => format(count.get(`${t.labels.job} ${t.labels.instance}`), 'count'),
    },
  ];
  const shownColumns = agent ? columns.filter((c) => c.id !== 'samples') : columns;
  return (
    <>
      <div class="row">
        <input
          class="field"
          style={{ flex: '0 1 280px' }}
          type="search"
          aria-label="Filter targets"
          placeholder="Filter: machine, job, label, error"
          value={text}
          onInput={(e) => setParams({ q: e.currentTarget.value, search: null })}
        />
        <Menu icon="filter" label={pool || 'All jobs'} title="Only one job">
          {(close) =>
            ['', ...pools].map((p) => (
              <button
                type="button"
                key={p}
                aria-selected={p === pool}
                onClick={() => {
                  setParams({ pool: p, scrapePool: null }, false);
                  close();
                }}
              >
                {p || 'All jobs'}
              </button>
            ))
          }
        </Menu>
        <span class="group" role="group" aria-label="Health">
          {[
            ['', 'All'],
            ['up', 'Up'],
            ['down', 'Down'],
            ['unknown', 'Waiting'],
          ].map(([h, word]) => (
            <button
              type="button"
              key={h}
              class="btn"
              aria-pressed={h ? healths.includes(h) : !healths.length}
              onClick={() => setParams({ health: h }, false)}
            >
              {word}
              {h && ` ${all.filter((t) => t.health === h).length}`}
            </button>
          ))}
        </span>
        <button
          type="button"
          class="btn"
          aria-pressed={grouped}
          onClick={() => setParams({ group: grouped ? null : 'machine' }, false)}
        >
          By machine
        </button>
      </div>
      <section class="panel">
        <Table
          label="Targets"
          pagewide
          fixed
          rows={rows}
          columns={shownColumns}
          rowKey={keyOf}
          defaultSort={grouped ? 'job' : 'health'}
          {...(grouped && { group: machineOf })}
          onOpen={(t) => setParams({ target: keyOf(t) }, false)}
          card={(t) => (
            <span class="stack" style={{ gap: '5px' }}>
              <span class="row">
                <b class="grow ellipsis">{machineOf(t)}</b>
                <TargetHealth t={t} />
              </span>
              <span class="ellipsis">
                {t.scrapePool} <span class="dim mono">{t.scrapeUrl}</span>
              </span>
              <span class="dim ellipsis">
                {t.lastError ? (
                  shortError(t.lastError)
                ) : t.health === 'up' ? (
                  <>
                    scraped <Ago time={Date.parse(t.lastScrape) / 1000} suffix=" ago" /> in{' '}
                    {seconds(t.lastScrapeDuration)}
                  </>
                ) : (
                  '–'
                )}
              </span>
            </span>
          )}
          empty={
            all.length ? (
              <Empty icon="filter" title="No target fits the filter">
                <button
                  type="button"
                  class="btn"
                  onClick={() =>
                    setParams({ q: null, search: null, pool: null, scrapePool: null, health: null, tag: null })
                  }
                >
                  Show all {all.length}
                </button>
              </Empty>
            ) : (
              <Empty
                icon="list"
                title="Nothing is scraped"
                why="No scrape configuration and no discovery method has a target. What was found and has not answered is under Discovery."
              >
                <a class="btn" href={hereWith({ tab: 'discovery' })}>
                  Discovery
                </a>
              </Empty>
            )
          }
        />
      </section>
      {opened && <TargetSheet t={opened} samples={count.get(`${opened.labels.job} ${opened.labels.instance}`)} />}
    </>
  );
}

function TargetSheet({ t, samples }: { t: Target; samples: number | undefined }) {
  const steps = useData(
    `relabel ${keyOf(t)}`,
    (s) =>
      request<{ steps: RelabelStep[] }>('/api/v1/targets/relabel_steps', {
        params: { scrapePool: t.scrapePool, labels: JSON.stringify(t.discoveredLabels) },
        signal: s,
      }),
    3600,
  );
  const url = safeLink(t.globalUrl);
  const local = t.scrapeUrl.includes('.in-process.invalid');
  return (
    <Overlay kind="sheet" title={`${machineOf(t)}: ${t.scrapePool}`} onClose={() => setParams({ target: null })}>
      <div class="row">
        <TargetHealth t={t} />
        {t.labels.machine && !agent && <a href={href(machinePath(t.labels.machine))}>Machine</a>}
        {!agent && (
          <a
            href={href('/explore', {
              'g0.expr': `up{job=${JSON.stringify(t.labels.job)},instance=${JSON.stringify(t.labels.instance)}}`,
            })}
          >
            Explore
          </a>
        )}
      </div>
      {t.lastError && <p class="note crit">{t.lastError}</p>}
      <dl class="facts">
        <dt>Address</dt>
        <dd>
          {local ? (
            'inside this process'
          ) : url ? (
            <a href={url} target="_blank" rel="noreferrer">
              {t.scrapeUrl}
            </a>
          ) : (
            t.scrapeUrl
          )}
        </dd>
        <dt>Last scrape</dt>
        <dd>
          {t.health === 'unknown' ? (
            'none yet'
          ) : (
            <>
              <Ago time={Date.parse(t.lastScrape) / 1000} suffix=" ago" />, took {seconds(t.lastScrapeDuration)}
            </>
          )}
        </dd>
        <dt>Interval, timeout</dt>
        <dd>
          {t.scrapeInterval}, {t.scrapeTimeout}
        </dd>
        {!agent && (
          <>
            <dt>Samples</dt>
            <dd>{format(samples, 'count')}</dd>
          </>
        )}
        <dt>Labels</dt>
        <dd>
          <LabelList labels={t.labels} />
        </dd>
      </dl>
      {!local && t.health !== 'up' && (
        <>
          <h3>Try it from this server</h3>
          <Snippet text={`curl -sS -m 10 '${t.scrapeUrl.replace(/'/g, "'\\''")}' | head`} />
        </>
      )}
      <details>
        <summary>Discovered labels</summary>
        <dl class="facts mono">
          {Object.entries(t.discoveredLabels).map(([k, v]) => [<dt key={k}>{k}</dt>, <dd key={`${k}=`}>{v}</dd>])}
        </dl>
      </details>
      <details>
        <summary>Relabelling, step by step</summary>
        <ErrorNote error={steps.error} />
        {steps.data?.steps.map((s, i) => (
          <div class="panel" key={i} style={{ marginTop: '8px' }}>
            <div class="body stack">
              <code class="wrap">
                {Object.entries(s.rule)
                  .filter(([, v]) => v !== '' && v !== null && v !== 0)
                  .map(([k, v]) => `${k}: ${Array.isArray(v) ? `[${v.join(', ')}]` : String(v)}`)
                  .join('  ')}
              </code>
              {s.keep ? (
                <LabelList labels={Object.fromEntries(Object.entries(s.output).filter(([k]) => !k.startsWith('__')))} />
              ) : (
                <Status level="warn">dropped here</Status>
              )}
            </div>
          </div>
        ))}
        {steps.data?.steps.length === 0 && <p class="dim">This job has no relabelling.</p>}
      </details>
    </Overlay>
  );
}

interface Source {
  method: string;
  error: string;
  jobs: string[];
  good: number;
} // good: the oldest of the last successes, Unix seconds; 0 if one had none

function DiscoveryTab({ t }: { t: Targets }) {
  const found = useData(agent ? null : 'discovery', discovery);
  const pools = useMemo(() => {
    const names = new Set([
      ...t.activeTargets.map((x) => x.scrapePool),
      ...t.droppedTargets.map((x) => x.scrapePool),
      ...Object.keys(t.droppedTargetCounts ?? {}),
    ]);
    return [...names].sort().map((name) => ({
      name,
      kept: t.activeTargets.filter((x) => x.scrapePool === name).length,
      dropped: t.droppedTargetCounts?.[name] ?? 0,
      sample: t.droppedTargets.filter((x) => x.scrapePool === name),
    }));
  }, [t]);
  const open = param('pool');
  const pool = pools.find((p) => p.name === open);
  const methods = useMemo(() => {
    // One line for what fares alike.
    const by = new Map<string, Source>();
    for (const m of found.data?.methods ?? []) {
      const key = `${m.method} ${m.error ?? ''}`;
      const good = m.lastSuccess ? Date.parse(m.lastSuccess) / 1000 : 0;
      const others = by.get(key);
      by.set(key, {
        method: m.method,
        error: m.error ?? '',
        jobs: [...(others?.jobs ?? []), ...(m.jobs ?? [m.config ?? ''])],
        good: others ? Math.min(others.good, good) : good,
      });
    }
    return [...by.values()];
  }, [found.data]);
  const waiting = found.data?.waiting ?? [];
  const left = found.data?.leftOut ?? [];
  return (
    <>
      <ErrorNote error={found.error} what="Discovery could not be loaded" />
      {found.data && methods.length === 0 && (
        <Panel title="Sources">
          <Empty
            icon="search"
            title="Nothing looks for machines"
            why="Targets come from the configuration file only. A method that finds machines is switched on by a flag, such as:"
          >
            <Snippet text="clanmon server --discovery tailscale" />
          </Empty>
        </Panel>
      )}
      {methods.length > 0 && (
        <Panel title="Sources">
          <Table
            label="Sources"
            rows={methods}
            rowKey={(m) => `${m.method} ${m.error}`}
            listKeys={false}
            columns={[
              {
                id: 'state',
                title: 'State',
                width: '120px',
                cell: (m) => (m.error ? <Status level="crit">fails</Status> : <Status level="ok">works</Status>),
              },
              { id: 'method', title: 'Method', cell: (m) => <b>{m.method}</b> },
              { id: 'job', title: 'Jobs', cell: (m) => <span class="wrap">{m.jobs.join(', ')}</span> },
              {
                id: 'good',
                title: 'Last refresh that succeeded',
                head: 'Last refresh',
                num: true,
                cell: (m) => <Ago time={m.good} suffix=" ago" />,
              },
              ...(methods.some((m) => m.error)
                ? [
                    {
                      id: 'error',
                      title: 'What is wrong, and what to do',
                      cell: (m: Source) => <span class="wrap">{m.error}</span>,
                    },
                  ]
                : []),
            ]}
          />
        </Panel>
      )}
      <Panel title="Jobs">
        <Table
          label="Jobs"
          rows={pools}
          rowKey={(p) => p.name}
          onOpen={(p) => setParams({ pool: p.name, tab: 'discovery' }, false)}
          listKeys={false}
          columns={[
            { id: 'name', title: 'Job', cell: (p) => <b>{p.name}</b> },
            { id: 'found', title: 'Found', num: true, cell: (p) => p.kept + p.dropped },
            { id: 'kept', title: 'Kept', num: true, cell: (p) => p.kept },
            {
              id: 'dropped',
              title: 'Dropped by relabelling',
              head: 'Dropped',
              num: true,
              cell: (p) =>
                p.dropped ? (
                  <button
                    type="button"
                    class="chip"
                    onClick={() => setParams({ pool: p.name, tab: 'discovery' }, false)}
                  >
                    {p.dropped}
                  </button>
                ) : (
                  0
                ),
            },
          ]}
          empty={<Empty icon="list" title="No job has found anything" />}
        />
      </Panel>
      {!agent && methods.length + waiting.length > 0 && (
        <Panel title={`Found, but not reporting${waiting.length ? `: ${waiting.length}` : ''}`}>
          <Table
            label="Not reporting"
            rows={waiting}
            rowKey={(w) => `${w.job} ${w.instance}`}
            listKeys={false}
            sortParam="waitsort"
            columns={[
              { id: 'machine', title: 'Machine', sort: (w) => w.machine, cell: (w) => <b>{w.machine}</b> },
              { id: 'job', title: 'Job', sort: (w) => w.job, cell: (w) => w.job },
              { id: 'address', title: 'Address', cell: (w) => <span class="mono">{w.address}</span> },
              { id: 'method', title: 'Found by', sort: (w) => w.method, cell: (w) => w.method },
              {
                id: 'reason',
                title: 'Reason',
                sort: (w) => w.reason,
                cell: (w) => <span title={w.error}>{w.reason || 'not asked yet'}</span>,
              },
              { id: 'attempts', title: 'Asked', num: true, sort: (w) => w.attempts, cell: (w) => w.attempts },
            ]}
            empty={
              <Empty
                icon="ok"
                title="Everything that was found reports"
                why="What tailscale or dns find becomes a target once it has answered; until then it would be listed here, and raises no alert."
              />
            }
          />
        </Panel>
      )}
      {left.length > 0 && (
        <Panel title={`Left out: ${left.length}`}>
          <Table
            label="Left out"
            rows={left}
            rowKey={(l) => `${l.method} ${l.device}`}
            listKeys={false}
            columns={[
              { id: 'device', title: 'Device', cell: (l) => <b>{l.device}</b> },
              { id: 'method', title: 'Found by', cell: (l) => l.method },
              { id: 'reason', title: 'Why', cell: (l) => l.reason },
            ]}
          />
        </Panel>
      )}
      {pool && (
        <Overlay kind="sheet" title={`${pool.name}: dropped by relabelling`} onClose={() => setParams({ pool: null })}>
          {pool.kept > 0 && (
            <p>
              <a href={href('/targets', { pool: pool.name })}>{several(pool.kept, 'target')} of this job</a>{' '}
              {pool.kept === 1 ? 'is' : 'are'} kept.
            </p>
          )}
          {!pool.sample.length && (
            <p class="dim">
              {pool.dropped ? 'Dropped targets are not kept (global.keep_dropped_targets).' : 'Nothing is dropped.'}
            </p>
          )}
          {pool.sample.slice(0, 100).map((d, i) => (
            <div class="panel" key={i}>
              <dl class="facts mono body">
                {Object.entries(d.discoveredLabels)
                  .filter(([k]) => !/^__(scrape|always|convert)/.test(k))
                  .map(([k, v]) => [<dt key={k}>{k}</dt>, <dd key={`${k}=`}>{v}</dd>])}
              </dl>
            </div>
          ))}
          {pool.sample.length > 100 && <p class="dim">and {pool.sample.length - 100} more</p>}
        </Overlay>
      )}
    </>
  );
}
