import { useState } from 'preact/hooks';
import { backfill, remoteWrite } from '../api/clanmon';
import { request } from '../api/client';
import { vector } from '../api/prom';
import type { Block, BuildInfo, RuntimeInfo, TSDBStat, TSDBStatus } from '../api/types/status';
import { Ago, Empty, ErrorNote, LastAnswer, Loading, Panel, Time, stale } from '../components/bits';
import { Icon } from '../components/icons';
import { PairPanel } from '../components/Pair';
import { RemoteWritePanel } from '../components/RemoteWrite';
import { Status } from '../components/Status';
import { StoragePanel } from '../components/StorageHealth';
import { Table } from '../components/Table';
import { Tabs } from '../components/Tabs';
import { checksOf, HEALTH, verdictOf, type Check } from '../lib/health';
import { daysUntilFull, type StorageFigures } from '../lib/storage';
import { ago, format } from '../lib/format';
import { second } from '../state/clock';
import { agent, version } from '../state/config';
import { useData } from '../state/data';
import { href, location, machinePath, param, setParams } from '../state/location';
import { storage } from '../state/storage';
import { copy } from '../state/toast';

// Prometheus' own paths of what are tabs here.
const OLD: Record<string, string> = {
  '/config': 'config',
  '/flags': 'flags',
  '/tsdb-status': 'storage',
  '/alertmanager-discovery': 'alertmanagers',
  '/agent': 'overview',
};
const TABS = [
  { id: 'overview', title: 'Overview' },
  { id: 'storage', title: 'Storage and cardinality' },
  { id: 'config', title: 'Configuration' },
  { id: 'flags', title: 'Flags' },
  { id: 'alertmanagers', title: 'Alertmanagers' },
].filter((t) => !agent || !['storage', 'alertmanagers'].includes(t.id));

export default function StatusPage({ params }: { params: Record<string, string> }) {
  const tab = OLD[location.value.path] ?? params.tab ?? 'overview';
  return (
    <>
      <div class="pagehead">
        <h1>Status</h1>
      </div>
      <Tabs
        label="Status"
        tabs={TABS}
        current={tab}
        links={(id) => href(id === 'overview' ? '/status' : `/status/${id}`)}
      />
      {tab === 'overview' ? (
        <Overview />
      ) : tab === 'storage' && !agent ? (
        <Storage />
      ) : tab === 'config' ? (
        <Configuration />
      ) : tab === 'flags' ? (
        <Flags />
      ) : tab === 'alertmanagers' && !agent ? (
        <Alertmanagers />
      ) : (
        <div class="panel">
          <Empty
            title={agent && ['storage', 'alertmanagers'].includes(tab) ? 'Not available on an agent' : 'Page not found'}
            why={agent ? 'An agent stores samples only until remote write has sent them.' : undefined}
          />
        </div>
      )}
    </>
  );
}

// Before stands above what is shown although the last answer failed.
const Before = ({ error, time }: { error: Error | undefined; time: number }) => (
  <ErrorNote error={error} what={stale(time)} />
);

const when = (text: string | undefined) => {
  const t = Date.parse(text ?? '') / 1000;
  return t > 0 ? (
    <>
      <Time time={t} withSeconds />{' '}
      <span class="dim">
        (<Ago time={t} suffix=" ago" />)
      </span>
    </>
  ) : (
    <>–</>
  );
};

const NOT_SCRAPED = 'Unknown: this server does not scrape itself as job “clanmon”.';

function Overview() {
  const runtime = useData('runtime', (s) => request<RuntimeInfo>('/api/v1/status/runtimeinfo', { signal: s }));
  const build = useData('build', (s) => request<BuildInfo>('/api/v1/status/buildinfo', { signal: s }), 3600);
  const own = useData(agent ? null : 'own health', (s) => vector(HEALTH, undefined, s));
  const sent = useData('remote write', remoteWrite);
  const gaps = useData(agent ? null : 'backfill', backfill, 30);
  const news = useData('notices', (s) =>
    request<{ text: string; date: string; active: boolean }[]>('/api/v1/notifications', { signal: s }),
  );
  const r = runtime.data;
  const b = build.data;
  if (!r)
    return runtime.error ? <ErrorNote error={runtime.error} what="The status could not be loaded" /> : <Loading />;
  return (
    <>
      <Before error={runtime.error} time={runtime.time} />
      <LastAnswer time={runtime.time} />
      {news.data
        ?.filter((n) => n.active)
        .map((n) => (
          <p class="note warn" key={n.text}>
            {n.text}
          </p>
        ))}
      {!agent && (
        <HealthPanel
          checks={checksOf({
            figures: own.data,
            storage: storage.value,
            receivers: sent.data,
            gaps: gaps.data?.gaps,
            reloaded: r.reloadConfigSuccess,
            now: second.value,
          })}
          loaded={!!own.data?.length && !!storage.value}
          notScraped={own.data?.length === 0}
          error={own.error}
        />
      )}
      <div class="panels">
        <Panel title="Build">
          <dl class="facts body">
            <dt>clanmon</dt>
            <dd>{version || b?.branch.replace(/^clanmon-/, '') || '–'}</dd>
            <dt>Prometheus</dt>
            <dd>{b?.version ?? '–'}</dd>
            <dt>Revision</dt>
            <dd>{b?.revision || '–'}</dd>
            <dt title="Date of the commit that this binary was built from">Commit date</dt>
            <dd>{Date.parse(b?.buildDate ?? '') > 0 ? when(b?.buildDate) : b?.buildDate || '–'}</dd>
            <dt>Go</dt>
            <dd>{b?.goVersion ?? '–'}</dd>
          </dl>
        </Panel>
        <Panel title="Runtime">
          <dl class="facts body">
            <dt>Host</dt>
            <dd>{r.hostname}</dd>
            <dt>Started</dt>
            <dd>{when(r.startTime)}</dd>
            <dt>Configuration</dt>
            <dd>
              {r.reloadConfigSuccess ? (
                <Status level="ok">loaded</Status>
              ) : (
                <Status level="crit">last reload failed; using the previous configuration</Status>
              )}{' '}
              {when(r.lastConfigTime)}
            </dd>
            <dt>Working directory</dt>
            <dd class="mono">{r.CWD}</dd>
            <dt>Goroutines</dt>
            <dd>{r.goroutineCount}</dd>
            <dt>Processors</dt>
            <dd>{r.GOMAXPROCS}</dd>
            <dt>Memory limit</dt>
            <dd>{r.GOMEMLIMIT > 2 ** 62 ? 'none' : format(r.GOMEMLIMIT, 'bytes')}</dd>
            {!agent && (
              <>
                <dt>Retention</dt>
                <dd>{r.storageRetention}</dd>
              </>
            )}
          </dl>
        </Panel>
      </div>
      <PairPanel />
      <StoragePanel />
      <RemoteWritePanel />
    </>
  );
}

const WHERE = {
  rules: () => href('/rules', { state: 'failing' }),
  alerts: () => href('/alerts'),
  targets: () => href('/targets'),
  discovery: () => href('/targets', { tab: 'discovery' }),
};

function HealthPanel({
  checks,
  loaded,
  notScraped,
  error,
}: {
  checks: Check[];
  loaded: boolean;
  notScraped: boolean;
  error: Error | undefined;
}) {
  const verdict = verdictOf(checks, loaded);
  const wrong = checks.filter((c) => c.wrong);
  return (
    <Panel title="Health">
      <div class="body stack">
        <p class="verdict">
          <Status level={verdict.level} badge>
            {verdict.text}
          </Status>
        </p>
        <ErrorNote error={error} />
        {wrong.length > 0 && (
          <ul class="stack" aria-label="What is wrong">
            {wrong.map((c) => (
              <li key={c.name}>
                <Status level={c.level}>
                  <span class="wrap">{c.wrong}</span>
                </Status>{' '}
                {c.where && <a href={WHERE[c.where]()}>Show</a>}
              </li>
            ))}
          </ul>
        )}
        {notScraped && <p class="dim">{NOT_SCRAPED}</p>}
        <dl class="checks">
          {checks.map((c) => (
            <div key={c.name}>
              <dt>{c.name}</dt>
              <dd>
                <Status level={c.level}>{c.value}</Status>
                {c.limit && <div class="dim">{c.limit}</div>}
              </dd>
            </div>
          ))}
        </dl>
      </div>
    </Panel>
  );
}

const STORAGE = [
  ['blocks', 'max(prometheus_tsdb_storage_blocks_bytes{job="clanmon"})'],
  [
    'wal',
    'max(prometheus_tsdb_wal_storage_size_bytes{job="clanmon"}) + (max(prometheus_tsdb_head_chunks_storage_size_bytes{job="clanmon"}) or vector(0))',
  ],
  ['growth', 'max(deriv(prometheus_tsdb_storage_blocks_bytes{job="clanmon"}[3d]))'],
  ['limit', 'max(prometheus_tsdb_retention_limit_bytes{job="clanmon"})'],
  ['oldest', 'min(prometheus_tsdb_lowest_timestamp_seconds{job="clanmon"})'],
]
  .map(([n, e]) => `label_replace(${e}, "figure", "${n}", "", "")`)
  .join(' or ');

function Storage() {
  const tsdb = useData(
    'tsdb',
    (s) => request<TSDBStatus>('/api/v1/status/tsdb', { params: { limit: 15 }, signal: s }),
    60,
  );
  const blocks = useData(
    'blocks',
    (s) => request<{ blocks: Block[] | null }>('/api/v1/status/tsdb/blocks', { signal: s }),
    60,
  );
  const figures = useData('storage', (s) => vector(STORAGE, undefined, s), 60);
  const machines = useData(
    'cardinality',
    (s) => vector('topk(15, sum by (machine) (scrape_samples_post_metric_relabeling{machine!=""}))', undefined, s),
    60,
  );
  const f = Object.fromEntries(
    (figures.data ?? []).map((x) => [x.metric.figure, Number(x.value?.[1])]),
  ) as unknown as StorageFigures;
  const left = daysUntilFull(f);
  const unknown = figures.data?.length === 0;
  const h = tsdb.data?.headStats;
  const t = tsdb.data;
  const per = (
    name: string,
    list: TSDBStat[] | null | undefined,
    unit: 'count' | 'bytes',
    link?: (n: string) => string,
  ) => (
    <Panel title={name} level={3}>
      <Table
        label={name}
        rows={list ?? []}
        rowKey={(s) => s.name}
        listKeys={false}
        columns={[
          {
            id: 'name',
            title: 'Name',
            class: 'ellipsis',
            cell: (s) =>
              link ? (
                <a class="mono" href={link(s.name)}>
                  {s.name}
                </a>
              ) : (
                <span class="mono" title={s.name}>
                  {s.name}
                </span>
              ),
          },
          { id: 'value', title: unit === 'bytes' ? 'Bytes' : 'Count', num: true, cell: (s) => format(s.value, unit) },
        ]}
        empty={<Empty title="Nothing in memory yet" />}
      />
    </Panel>
  );
  return (
    <>
      {t || figures.data ? (
        <Before error={tsdb.error ?? figures.error} time={(tsdb.error ? tsdb : figures).time} />
      ) : (
        <ErrorNote error={tsdb.error ?? figures.error} what="The storage status could not be loaded" />
      )}
      <StoragePanel />
      <div class="panels">
        <Panel title="On disk">
          <dl class="facts body">
            <dt>Blocks</dt>
            <dd>
              {[
                f.blocks === undefined ? '' : format(f.blocks, 'bytes'),
                blocks.data ? `${(blocks.data.blocks ?? []).length} blocks` : '',
              ]
                .filter(Boolean)
                .join(', ') || '–'}
            </dd>
            <dt title="Write-ahead log, and the newest chunks">WAL and head</dt>
            <dd>{format(f.wal, 'bytes')}</dd>
            <dt>Growth</dt>
            <dd>
              {unknown
                ? '–'
                : f.growth === undefined
                  ? 'known after a few days'
                  : `${format(f.growth * 86400, 'bytes')} a day`}
            </dd>
            <dt>Size limit</dt>
            <dd>
              {unknown ? (
                '–'
              ) : f.limit ? (
                format(f.limit, 'bytes')
              ) : (
                <>
                  none; <code>--storage.tsdb.retention.size</code> sets one
                </>
              )}
            </dd>
            {f.limit > 0 && (
              <>
                <dt>Limit reached</dt>
                <dd>
                  {left === undefined
                    ? 'not at the current rate'
                    : `in ${left < 1 ? 'less than a day' : `${Math.round(left)} days`}; the oldest block is then deleted`}
                </dd>
              </>
            )}
            <dt>Oldest sample</dt>
            <dd>
              <Time time={f.oldest > 0 && f.oldest < 1e11 ? f.oldest : undefined} />
            </dd>
          </dl>
          {unknown && <p class="body dim">{NOT_SCRAPED}</p>}
        </Panel>
        <Panel title="In memory">
          <dl class="facts body">
            <dt>Series</dt>
            <dd>{format(h?.numSeries, 'count')}</dd>
            <dt>Chunks</dt>
            <dd>{format(h?.chunkCount, 'count')}</dd>
            <dt>Label pairs</dt>
            <dd>{format(h?.numLabelPairs, 'count')}</dd>
            <dt>From</dt>
            <dd>
              <Time time={h && h.minTime < 8e15 ? h.minTime / 1000 : undefined} />
            </dd>
            <dt>To</dt>
            <dd>
              <Time time={h && h.maxTime > 0 ? h.maxTime / 1000 : undefined} />
            </dd>
          </dl>
        </Panel>
      </div>
      <div class="panels">
        <Panel title="Samples per machine and scrape" level={3}>
          <Table
            label="Samples per machine"
            rows={machines.data ?? []}
            rowKey={(s) => s.metric.machine ?? ''}
            listKeys={false}
            columns={[
              {
                id: 'm',
                title: 'Machine',
                cell: (s) => <a href={href(machinePath(s.metric.machine ?? ''))}>{s.metric.machine}</a>,
              },
              { id: 'v', title: 'Samples', num: true, cell: (s) => format(Number(s.value?.[1]), 'count') },
            ]}
            empty={<Empty title="No target has the label machine" />}
          />
        </Panel>
        {per('Series per metric', t?.seriesCountByMetricName, 'count', (n) =>
          href('/explore', { 'g0.expr': `count by (job, machine) ({__name__=${JSON.stringify(n)}})`, 'g0.tab': '1' }),
        )}
        {per('Values per label', t?.labelValueCountByLabelName, 'count')}
        {per('Series per label and value', t?.seriesCountByLabelValuePair, 'count')}
        {per('Memory per label', t?.memoryInBytesByLabelName, 'bytes')}
      </div>
      <Panel title="Blocks">
        <Table
          label="Blocks"
          rows={blocks.data?.blocks ?? []}
          rowKey={(x) => x.ulid}
          listKeys={false}
          defaultSort="-from"
          sortParam="blocksort"
          columns={[
            { id: 'ulid', title: 'Block', cell: (x) => <code>{x.ulid}</code> },
            { id: 'from', title: 'From', sort: (x) => x.minTime, cell: (x) => <Time time={x.minTime / 1000} /> },
            {
              id: 'range',
              title: 'Range',
              num: true,
              sort: (x) => x.maxTime - x.minTime,
              cell: (x) => ago((x.maxTime - x.minTime) / 1000),
            },
            {
              id: 'series',
              title: 'Series',
              num: true,
              sort: (x) => x.stats.numSeries,
              cell: (x) => format(x.stats.numSeries, 'count'),
            },
            {
              id: 'samples',
              title: 'Samples',
              num: true,
              sort: (x) => x.stats.numSamples,
              cell: (x) => format(x.stats.numSamples, 'count'),
            },
            { id: 'level', title: 'Level', num: true, cell: (x) => x.compaction.level },
          ]}
          empty={<Empty title="No block yet" why="The first one is written after about three hours." />}
        />
      </Panel>
    </>
  );
}

function Configuration() {
  const c = useData('config', (s) => request<{ yaml: string }>('/api/v1/status/config', { signal: s }), 60);
  if (!c.data)
    return c.error ? <ErrorNote error={c.error} what="The configuration could not be loaded" /> : <Loading />;
  return (
    <>
      <Before error={c.error} time={c.time} />
      <Panel
        title="Prometheus configuration, including discovery"
        tools={
          <button type="button" class="btn" onClick={() => void copy(c.data!.yaml)}>
            <Icon name="copy" />
            Copy
          </button>
        }
      >
        <pre class="body" tabIndex={0} style={{ overflow: 'auto' }}>
          {c.data.yaml}
        </pre>
      </Panel>
    </>
  );
}

function Flags() {
  const f = useData('flags', (s) => request<Record<string, string>>('/api/v1/status/flags', { signal: s }), 3600);
  const [text, setText] = useState(param('q'));
  if (!f.data) return f.error ? <ErrorNote error={f.error} what="The flags could not be loaded" /> : <Loading />;
  const rows = Object.entries(f.data)
    .filter(([k, v]) => `--${k}=${v}`.toLowerCase().includes(text.toLowerCase()))
    .sort();
  return (
    <Panel
      title="Flags"
      tools={
        <input
          class="field"
          type="search"
          aria-label="Filter flags"
          placeholder="Filter"
          value={text}
          onInput={(e) => {
            setText(e.currentTarget.value);
            setParams({ q: e.currentTarget.value });
          }}
        />
      }
    >
      <Table
        label="Flags"
        rows={rows}
        rowKey={([k]) => k}
        listKeys={false}
        columns={[
          { id: 'flag', title: 'Flag', cell: ([k]) => <code>--{k}</code> },
          {
            id: 'value',
            title: 'Value',
            cell: ([, v]) => <code class="wrap">{v || <span class="dim nowrap">(empty)</span>}</code>,
          },
        ]}
        empty={<Empty icon="filter" title="No flags match the filter" />}
      />
    </Panel>
  );
}

function Alertmanagers() {
  const a = useData(
    'alertmanagers',
    (s) =>
      request<{ activeAlertmanagers: { url: string }[]; droppedAlertmanagers: { url: string }[] }>(
        '/api/v1/alertmanagers',
        { signal: s },
      ),
    30,
  );
  if (!a.data)
    return a.error ? <ErrorNote error={a.error} what="The Alertmanagers could not be loaded" /> : <Loading />;
  const rows = [
    ...a.data.activeAlertmanagers.map((x) => ({ ...x, active: true })),
    ...a.data.droppedAlertmanagers.map((x) => ({ ...x, active: false })),
  ];
  return (
    <Panel title="Other Alertmanagers">
      <Table
        label="Alertmanagers"
        rows={rows}
        rowKey={(x) => x.url}
        listKeys={false}
        columns={[
          {
            id: 'state',
            title: 'State',
            width: '120px',
            cell: (x) => (x.active ? <Status level="ok">in use</Status> : <Status level="off">dropped</Status>),
          },
          { id: 'url', title: 'Address', cell: (x) => <code class="wrap">{x.url}</code> },
        ]}
        empty={
          <Empty
            title="No other Alertmanagers"
            why="This server sends alerts itself. Lists the Alertmanagers under alerting: in the configuration file."
          />
        }
      />
    </Panel>
  );
}
