import { useComputed } from '@preact/signals';
import { useMemo } from 'preact/hooks';
import { discovery } from '../api/clanmon';
import { request } from '../api/client';
import { vector } from '../api/prom';
import type { DiscoveryMethod, FleetRow } from '../api/types/machines';
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
  stale,
} from '../components/bits';
import { Filling } from '../components/Filling';
import { ForgetTarget } from '../components/Forget';
import { NoMatch } from '../components/NoMatch';
import { Status } from '../components/Status';
import { Table, type Column } from '../components/Table';
import { Tabs } from '../components/Tabs';
import { shortError } from '../lib/errors';
import { hasTag } from '../lib/fleet';
import { format, seconds } from '../lib/format';
import { inProcess, placeOf } from '../lib/place';
import { machineFinder } from '../lib/selector';
import { OK, FAILING, NOT_SCRAPED, NOT_TRIED, sourceWord } from '../lib/words';
import { agent } from '../state/config';
import { second } from '../state/clock';
import { useData } from '../state/data';
import { useFleet, useImpatience } from '../state/fleet';
import { hereWith, href, location, machinePath, param, setParams, tagFilter } from '../state/location';

const several = (n: number, what: string) => `${n.toLocaleString('en')} ${what}${n === 1 ? '' : 's'}`;
const keyOf = (t: Target) => `${t.scrapePool} ${t.scrapeUrl}`;

// The machine of a target, by its labels or, where it has no label machine, by
// its instance; a target of none goes by what it has.
const finder = (rows: FleetRow[] | undefined) => {
  const find = machineFinder(rows ?? []);
  return (t: Target) => find(t.labels);
};

// A machine that is off now and then is no trouble while it is.
const away = (t: Target) => t.health === 'down' && t.labels.availability === 'intermittent';

function TargetHealth({ t }: { t: Target }) {
  return t.health === 'up' ? (
    <Status level="ok">up</Status>
  ) : away(t) ? (
    <span title="The machine is intermittent and may be off">
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
  const { started } = useFleet(!agent);
  const young = useComputed(() => !!started && second.value - started < 60).value;
  useImpatience(!all.length || all.some((t) => t.health === 'unknown'));
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
      <ErrorNote error={asked.error} what={asked.data ? stale(asked.time) : 'The targets could not be loaded'} />
      <Filling />
      {!asked.data ? (
        !asked.error && <Loading lines={5} />
      ) : (
        <div class={`stack${asked.error ? ' stale' : ''}`}>
          {tab === 'discovery' ? <DiscoveryTab t={asked.data} /> : <TargetList all={all} young={young} />}
        </div>
      )}
    </>
  );
}

function TargetList({ all, young }: { all: Target[]; young: boolean }) {
  const samples = useData(
    agent ? null : 'target samples',
    (s) => vector('scrape_samples_post_metric_relabeling', undefined, s),
    60,
  );
  const { rows: fleet } = useFleet(!agent);
  const machine = useMemo(() => finder(fleet), [fleet]);
  const machineOf = (t: Target) => machine(t) ?? t.labels.instance ?? t.scrapeUrl;
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
      fleet && tagFilter.value
        ? new Set(fleet.filter((r) => hasTag(r, tagFilter.value)).map((r) => r.name))
        : undefined,
    [fleet, tagFilter.value],
  );
  const rows = useMemo(
    () =>
      all.filter(
        (t) =>
          (!pool || t.scrapePool === pool) &&
          (!healths.length || healths.includes(t.health)) &&
          (!tagged || tagged.has(machine(t) ?? '')) &&
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
    [all, text, pool, healths.join(), tagged, machine],
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
        machine(t) && !agent ? (
          <a href={href(machinePath(machine(t)!))}>
            <b>{machine(t)}</b>
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
        <span class={inProcess(t.scrapeUrl) ? 'dim' : 'mono'} title={t.scrapeUrl}>
          {placeOf(t.scrapeUrl)}
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
        <Menu icon="filter" label={pool || 'All jobs'} title="Filter by job">
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
                {t.scrapePool} <span class="dim mono">{placeOf(t.scrapeUrl)}</span>
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
              <NoMatch what="targets" params={['q', 'search', 'pool', 'scrapePool', 'health', 'tag']} of={all.length} />
            ) : young ? (
              <Empty icon="wait" title="The server has just started" why="Targets appear within a few seconds." />
            ) : (
              <Empty
                icon="list"
                title="No targets"
                why="Neither scrape_configs nor discovery gives a target. Devices that do not respond are listed under Discovery."
              >
                <a class="btn" href={hereWith({ tab: 'discovery' })}>
                  Discovery
                </a>
              </Empty>
            )
          }
        />
      </section>
      {opened && (
        <TargetSheet
          t={opened}
          machine={machine(opened)}
          samples={count.get(`${opened.labels.job} ${opened.labels.instance}`)}
        />
      )}
    </>
  );
}

function TargetSheet({ t, machine, samples }: { t: Target; machine: string | undefined; samples: number | undefined }) {
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
  const local = inProcess(t.scrapeUrl);
  return (
    <Overlay
      kind="sheet"
      title={`${machine ?? t.labels.instance ?? t.scrapeUrl}: ${t.scrapePool}`}
      onClose={() => setParams({ target: null })}
    >
      <div class="row">
        <TargetHealth t={t} />
        {machine && !agent && <a href={href(machinePath(machine))}>Machine</a>}
        {!agent && (
          <a
            href={href('/explore', {
              'g0.expr': `up{job=${JSON.stringify(t.labels.job)},instance=${JSON.stringify(t.labels.instance)}}`,
            })}
          >
            Explore
          </a>
        )}
        {machine && !agent && t.health !== 'up' && (
          <ForgetTarget
            machine={machine}
            job={t.scrapePool}
            instance={t.labels.instance ?? ''}
            done={() => setParams({ target: null })}
          />
        )}
      </div>
      {t.lastError && <p class="note crit">{t.lastError}</p>}
      <dl class="facts">
        <dt>Address</dt>
        <dd>
          {local ? (
            'this process'
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
            NOT_SCRAPED
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
  never: boolean; // it has not succeeded since the start
  since: number; // when it began to fail, Unix seconds
  jobs: string[];
  good: number; // the oldest of the last successes, Unix seconds; 0 if one had none
}

const time = (t: string | undefined) => (t ? Date.parse(t) / 1000 : 0);

// Methods that find machines by looking; the others only list what they were told.
const LISTS = ['static', 'local', 'config'];

function sources(methods: DiscoveryMethod[]): Source[] {
  // One line for what fares alike.
  const by = new Map<string, Source>();
  for (const m of methods) {
    const key = `${m.method} ${m.error ?? ''}`;
    const others = by.get(key);
    by.set(key, {
      method: m.method,
      error: m.error ?? '',
      never: !!m.never || !!others?.never,
      since: Math.min(others?.since || Infinity, time(m.failingSince) || Infinity),
      jobs: [...new Set([...(others?.jobs ?? []), ...(m.jobs ?? (m.config ? [m.config] : []))])],
      good: others ? Math.min(others.good, time(m.lastSuccess)) : time(m.lastSuccess),
    });
  }
  return [...by.values()];
}

// machinesFrom says where machines come from that no method looks for.
function machinesFrom(listed: boolean, fed: boolean): string {
  if (!fed) return listed ? 'The machines come from the sources above.' : 'No machines known.';
  return listed
    ? 'The machines come from the sources above, and from remote write or OTLP.'
    : 'The machines come from remote write or OTLP.';
}

const sourceState = (m: Source) =>
  m.error ? (
    <Status level="crit">{FAILING}</Status>
  ) : m.never ? (
    <Status level="off" icon="wait">
      not run yet
    </Status>
  ) : (
    <Status level="ok">{OK}</Status>
  );

const refreshed = (m: Source) =>
  LISTS.includes(m.method) ? <span class="dim">–</span> : m.never ? 'never' : <Ago time={m.good} suffix=" ago" />;

function DiscoveryTab({ t }: { t: Targets }) {
  const found = useData(agent ? null : 'discovery', discovery, 60);
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
  const methods = useMemo(() => sources(found.data?.methods ?? []), [found.data]);
  const looking = methods.some((m) => !LISTS.includes(m.method));
  const { rows: fleet } = useFleet(!agent);
  const fed = useMemo(() => {
    const find = finder(fleet);
    const scraped = new Set(t.activeTargets.map(find));
    return !!fleet?.some((r) => !scraped.has(r.name));
  }, [fleet, t]);
  const down = t.activeTargets.filter((x) => x.health !== 'up').length;
  const waiting = found.data?.waiting ?? [];
  const left = found.data?.leftOut ?? [];
  const refused = found.data?.refused ?? [];
  return (
    <>
      <ErrorNote error={found.error} what="Discovery could not be loaded" />
      {methods.length > 0 && (
        <Panel title="Sources">
          <Table
            label="Sources"
            rows={methods}
            rowKey={(m) => `${m.method} ${m.error}`}
            listKeys={false}
            card={(m) => (
              <div class="linecard">
                <div class="row nowraprow">
                  <b class="grow ellipsis">{sourceWord(m.method)}</b>
                  {sourceState(m)}
                </div>
                <div class="dim ellipsis">{m.jobs.join(', ')}</div>
                <div class={m.error ? 'ellipsis' : 'dim'}>
                  {m.error || (!LISTS.includes(m.method) && <>Last refresh: {refreshed(m)}</>)}
                </div>
              </div>
            )}
            columns={[
              {
                id: 'state',
                title: 'State',
                width: '120px',
                cell: sourceState,
              },
              { id: 'method', title: 'Method', cell: (m) => <b>{sourceWord(m.method)}</b> },
              { id: 'job', title: 'Jobs', cell: (m) => m.jobs.join(', ') || '–' },
              {
                id: 'good',
                title: 'Last successful refresh',
                head: 'Last refresh',
                num: true,
                cell: refreshed,
              },
              ...(methods.some((m) => m.error)
                ? [
                    {
                      id: 'error',
                      title: 'Error',
                      cell: (m: Source) => (
                        <span class="wrap">
                          {m.error}
                          {m.error && Number.isFinite(m.since) && (
                            <span class="dim">
                              {' '}
                              (for <Ago time={m.since} />)
                            </span>
                          )}
                        </span>
                      ),
                    },
                  ]
                : []),
            ]}
          />
        </Panel>
      )}
      {found.data && !looking && (
        <Panel title="Discovery methods">
          <Empty
            icon="search"
            title="No discovery method enabled"
            why={`${machinesFrom(methods.length > 0, fed)} To find others, enable a method with a flag such as:`}
          >
            <Snippet text="clanmon server --discovery tailscale" />
          </Empty>
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
          empty={<Empty icon="list" title="No jobs" />}
        />
      </Panel>
      {!agent && (looking || waiting.length > 0) && (
        <Panel title={`Not reporting${waiting.length ? `: ${waiting.length}` : ''}`}>
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
              { id: 'method', title: 'Found by', sort: (w) => w.method, cell: (w) => sourceWord(w.method) },
              {
                id: 'reason',
                title: 'Reason',
                sort: (w) => w.reason,
                cell: (w) => <span title={w.error}>{w.reason || NOT_TRIED}</span>,
              },
              { id: 'attempts', title: 'Attempts', num: true, sort: (w) => w.attempts, cell: (w) => w.attempts },
            ]}
            empty={
              methods.some((m) => m.error || m.never) ? (
                <Empty icon="info" title="Unknown" why="A discovery method is failing or has not run yet." />
              ) : down ? (
                <Empty
                  icon="info"
                  title="No device awaits its first response"
                  why={`${several(down, 'discovered target')} ${down === 1 ? 'does' : 'do'} not respond.`}
                >
                  <a class="btn" href={href('/targets', { health: 'down' })}>
                    Show targets down
                  </a>
                </Empty>
              ) : (
                <Empty
                  icon="ok"
                  title="All discovered devices report"
                  why="A device becomes a target once it responds with metrics. Until then it is listed here and raises no alert."
                />
              )
            }
          />
        </Panel>
      )}
      {refused.length > 0 && (
        <Panel title={`Invalid entries: ${refused.length}`}>
          <Table
            label="Invalid entries"
            rows={refused}
            rowKey={(r) => `${r.method} ${r.entry}`}
            listKeys={false}
            columns={[
              { id: 'entry', title: 'Entry', cell: (r) => <b>{r.entry}</b> },
              { id: 'method', title: 'Method', cell: (r) => sourceWord(r.method) },
              { id: 'reason', title: 'Reason', cell: (r) => <span class="wrap">{r.reason}</span> },
            ]}
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
              { id: 'method', title: 'Found by', cell: (l) => sourceWord(l.method) },
              { id: 'reason', title: 'Reason', cell: (l) => l.reason },
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
              {pool.dropped ? 'Dropped targets are not recorded (global.keep_dropped_targets).' : 'Nothing is dropped.'}
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
