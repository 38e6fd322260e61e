import { useCallback, useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { discovery, machines, receivers } from '../api/clanmon';
import { anyOf, queryRange, quote, vector } from '../api/prom';
import type { Discovery, Waiting } from '../api/types/machines';
import { Ago, Empty, ErrorNote, Loading, Menu, Overlay, Snippet } from '../components/bits';
import { FirstSteps } from '../components/FirstSteps';
import { Icon } from '../components/icons';
import { LOOK } from '../components/MachineState';
import { Meter } from '../components/Meter';
import { Spark } from '../components/Spark';
import { Status, type Level } from '../components/Status';
import { Table, type Column } from '../components/Table';
import {
  fallbackQuery,
  factsQuery,
  hasTag,
  matches,
  mergeFleet,
  recordsQuery,
  shortSystem,
  shows,
  STATES,
  type FleetRow,
} from '../lib/oldfleet';
import { ago, format } from '../lib/format';
import { RangeCache } from '../lib/rangeCache';
import { dateTime } from '../lib/time';
import { at, now, setRelative, tick, useOld } from '../state/clock';
import { useData } from '../state/data';
import { allAlerts, alertsError, alertsTime } from '../state/firing';
import { href, machinePath, param, setParams, tagFilter } from '../state/location';
import { phone } from '../state/media';
import { isUTC, recall, remember } from '../state/prefs';
import './fleet.css';

const SMALL = 50; // machines up to which the fallback is worth its cost

export default function FleetPage() {
  const found = useData('machines', machines);
  const records = useData('fleet records', (s) => vector(recordsQuery, at.value, s));
  const facts = useData('fleet facts', (s) => vector(factsQuery, at.value, s), 120);
  const disco = useData('discovery', discovery, 60);
  const told = useData('receivers', receivers, 60);
  const incomplete =
    !!records.data &&
    !!found.data &&
    found.data.length > 0 &&
    found.data.length <= SMALL &&
    found.data.some(
      (m) =>
        m.targets?.some((t) => t.job === 'node' && t.health === 'up') &&
        !records.data!.some((r) => r.metric.machine === m.machine),
    );
  const fallback = useData(incomplete ? 'fleet fallback' : null, (s) => vector(fallbackQuery, at.value, s));

  const all = useMemo(
    () =>
      mergeFleet(
        found.data ?? [],
        records.data ?? [],
        facts.data ?? [],
        incomplete ? (fallback.data ?? []) : [],
        allAlerts.value ?? [],
        at.value !== undefined,
      ),
    [at.value, found.data, records.data, facts.data, fallback.data, incomplete, allAlerts.value],
  );
  const tag = tagFilter.value;
  const show = param('show');
  const text = param('q');
  const rows = useMemo(
    () => all.filter((r) => hasTag(r, tag) && shows(r, show) && (!text || matches(r, text))),
    [all, tag, show, text],
  );
  const tags = useMemo(() => [...new Set(all.flatMap((r) => r.tags))].sort(), [all]);
  const group = param('group');
  // By tag, a machine stands below each of its tags.
  const lines = useMemo(
    () =>
      group === 'tag'
        ? rows.flatMap((r) =>
            (r.tags.length ? r.tags : [NO_TAG]).filter((t) => !tag || t === tag).map((t) => ({ ...r, group: t })),
          )
        : rows,
    [rows, group, tag],
  );
  const sparks = useSparks();
  const [hidden, setHidden] = useState<string[]>(() => recall('fleet.hidden', DEFAULT_HIDDEN));
  const columns = useMemo(() => fleetColumns(sparks.data), [sparks.data]);
  const shownColumns = useMemo(() => columns.filter((c) => !hidden.includes(c.id)), [columns, hidden]);
  // What is left out on purpose, such as phones, is not expected to report.
  const silent = new Set(disco.data?.waiting?.map((w) => w.machine)).size;
  const old = useOld(found.time);

  if (!found.data && found.error)
    return (
      <>
        <PageHead />
        <ErrorNote error={found.error} what="The machines could not be loaded" />
      </>
    );
  // What stands above the table is awaited, so that the table does not jump.
  if (!found.data || told.loading)
    return (
      <>
        <PageHead />
        <Loading lines={5} />
      </>
    );

  // Of which time the oldest of what is shown is, once all of it is there.
  const whole =
    allAlerts.value && (records.data || records.error)
      ? Math.min(found.time, alertsTime.value, records.data ? records.time : Infinity)
      : undefined;
  return (
    <>
      <PageHead>
        {old && (
          <Status level="warn" badge>
            last answer <Ago time={found.time} suffix=" ago" />
          </Status>
        )}
        {all.length > 0 && (
          <>
            <input
              class="field"
              type="search"
              aria-label="Filter machines"
              placeholder="Filter: name, tag, system"
              value={text}
              onInput={(e) => setParams({ q: e.currentTarget.value })}
            />
            {tags.length > 0 && <TagMenu tags={tags} all={all} />}
            {tags.length > 0 && (
              <button
                type="button"
                class="btn"
                aria-pressed={group === 'tag'}
                onClick={() => setParams({ group: group === 'tag' ? null : 'tag' })}
              >
                Group by tag
              </button>
            )}
            {!phone.value && (
              <Menu icon="columns" title="Columns">
                {() =>
                  columns
                    .filter((c) => c.id !== 'state' && c.id !== 'name')
                    .map((c) => (
                      <button
                        type="button"
                        key={c.id}
                        role="menuitemcheckbox"
                        aria-checked={!hidden.includes(c.id)}
                        onClick={() => {
                          const h = hidden.includes(c.id) ? hidden.filter((x) => x !== c.id) : [...hidden, c.id];
                          setHidden(h);
                          remember('fleet.hidden', h);
                        }}
                      >
                        <span style={{ width: '16px' }}>{!hidden.includes(c.id) && <Icon name="ok" />}</span>
                        {c.title}
                      </button>
                    ))
                }
              </Menu>
            )}
          </>
        )}
      </PageHead>
      <FirstSteps
        found={found.data}
        discovery={disco.data}
        seen={at.value !== undefined || !!records.data?.length || !!fallback.data?.length}
        told={told.data}
      />
      <Problems all={all} silent={silent} time={whole} />
      {at.value !== undefined && all.length > 0 && (
        <p class="note row">
          <span class="grow">
            {records.data?.length === 0 ? 'There are no figures' : 'The figures are'} of {dateTime(at.value, isUTC())},
            the end of the chosen range. Status, alerts and what is wrong are of now.
          </span>
          <button type="button" class="btn" onClick={() => setRelative('1h')}>
            Figures of now
          </button>
        </p>
      )}
      <ErrorNote
        error={found.error ?? records.error}
        what={found.error ? 'The last answer failed; this is from before' : 'Figures could not be loaded'}
      />
      <ErrorNote error={alertsError.value} what="Alerts could not be loaded" />
      <section class={`panel fleet${old ? ' stale' : ''}`}>
        <Table
          label="Machines"
          pagewide
          fixed
          rows={lines}
          columns={shownColumns}
          rowKey={rowKey}
          defaultSort="state"
          href={(r) => href(machinePath(r.name))}
          card={(r) => <Card r={r} />}
          rowClass={(r) => (r.state === 'down' || r.state === 'offline' ? 'old' : '')}
          onVisible={sparks.want}
          {...(group === 'tag' && { group: byTag, groupHead: (t, n) => <GroupHead tag={t} n={n} rows={rows} /> })}
          empty={
            all.length ? (
              <Empty
                icon="filter"
                title="No machine fits the filter"
                why={[text && `“${text}”`, tag && `tag ${tag}`, show].filter(Boolean).join(', ')}
              >
                <button type="button" class="btn" onClick={() => setParams({ q: null, show: null, tag: null })}>
                  Show all {all.length}
                </button>
              </Empty>
            ) : (
              <NoMachines disco={disco.data} silent={silent} />
            )
          }
        />
      </section>
      {param('drawer') === 'silent' && disco.data && (
        <NotReporting d={disco.data} onClose={() => setParams({ drawer: null })} />
      )}
    </>
  );
}

const NO_TAG = 'without a tag';
const byTag = (r: FleetRow) => r.group ?? '';
const rowKey = (r: FleetRow) => (r.group === undefined ? r.name : `${r.group} ${r.name}`);

function GroupHead({ tag, n, rows }: { tag: string; n: number; rows: FleetRow[] }) {
  const of = rows.filter((r) => (tag === NO_TAG ? !r.tags.length : r.tags.includes(tag)));
  return (
    <span class="row nowraprow taghead">
      {tag}{' '}
      <span class="dim">
        {n} {n === 1 ? 'machine' : 'machines'}
      </span>
      {(['down', 'critical', 'warning'] as const).map((s) => {
        const k = of.filter((r) => r.state === s).length;
        return (
          k > 0 && (
            <Status key={s} level={LOOK[s].level} icon={LOOK[s].icon}>
              {k} {s === 'warning' && k > 1 ? 'warnings' : s}
            </Status>
          )
        );
      })}
    </span>
  );
}

function PageHead({ children }: { children?: preact.ComponentChildren }) {
  return (
    <div class="pagehead">
      <h1>Fleet</h1>
      {children}
    </div>
  );
}

function TagMenu({ tags, all }: { tags: string[]; all: FleetRow[] }) {
  return (
    <Menu icon="filter" label={tagFilter.value || 'All tags'} title="Only machines with a tag">
      {(close) => (
        <>
          <button
            type="button"
            aria-selected={!tagFilter.value}
            onClick={() => {
              setParams({ tag: null }, false);
              close();
            }}
          >
            All tags
          </button>
          {tags.map((t) => (
            <button
              type="button"
              key={t}
              aria-selected={tagFilter.value === t}
              onClick={() => {
                setParams({ tag: t }, false);
                close();
              }}
            >
              <span class="grow">{t}</span>
              <span class="dim num">{all.filter((r) => r.tags.includes(t)).length}</span>
            </button>
          ))}
        </>
      )}
    </Menu>
  );
}

// Problems counts what is wrong; each count is a filter. It calls machines
// healthy only when everything that could say otherwise has answered.
function Problems({ all, silent, time }: { all: FleetRow[]; silent: number; time: number | undefined }) {
  const show = param('show');
  const old = useOld(time);
  const count = (s: string) => all.filter((r) => shows(r, s)).length;
  const [down, critical, warning, offline, waiting, reboot] = [
    'down',
    'critical',
    'warning',
    'offline',
    'waiting',
    'reboot',
  ].map(count) as [number, number, number, number, number, number];
  const units = all.reduce((n, r) => n + (r.up > 0 ? (r.unitsFailed ?? 0) : 0), 0);
  if (!all.length) return null;
  const filter = (name: string, n: number, level: Level, icon: string, word: string, title: string) =>
    (n > 0 || show === name) && (
      <button
        type="button"
        class={`problem ${level}`}
        aria-pressed={show === name}
        title={title}
        onClick={() => setParams({ show: show === name ? null : name }, false)}
      >
        <Icon name={icon} />
        <b>{n}</b> {word}
      </button>
    );
  const calm = !down && !critical && !warning && !units;
  const healthy = all.length - offline - waiting;
  return (
    <div class="problems" role="group" aria-label="What is wrong">
      {calm && time === undefined && (
        <span class="problem off" role="status">
          <Icon name="wait" />
          {alertsError.value ? 'Whether alerts fire is not known' : 'Checking'}
        </span>
      )}
      {calm && time !== undefined && healthy === 0 && (
        <span class="problem off">
          <Icon name="wait" />
          {waiting ? 'No machine has answered yet' : 'No machine is on'}
        </span>
      )}
      {calm && time !== undefined && healthy > 0 && (
        <span class={`problem ${old ? 'off' : 'ok'}`}>
          <Icon name={old ? 'wait' : 'ok'} />
          <span>
            {healthy === 1 ? 'The machine is healthy' : `All ${healthy} machines healthy`}, checked{' '}
            <Ago time={time} suffix=" ago" />
          </span>
        </span>
      )}
      {filter('down', down, 'crit', 'down', 'down', 'Machines that do not answer')}
      {filter('critical', critical, 'crit', 'crit', 'critical', 'Machines with a critical alert')}
      {filter('warning', warning, 'warn', 'warn', warning === 1 ? 'warning' : 'warnings', 'Machines with a warning')}
      {filter(
        'units',
        units,
        'warn',
        'services',
        units === 1 ? 'failed unit' : 'failed units',
        'Machines on which a systemd unit has failed',
      )}
      {filter(
        'reboot',
        reboot,
        'info',
        'refresh',
        reboot === 1 ? 'reboot due' : 'reboots due',
        'Machines on which another kernel is installed than runs',
      )}
      {filter('waiting', waiting, 'off', 'wait', 'not scraped yet', 'Machines that were found and not asked yet')}
      {filter('offline', offline, 'off', 'off', 'offline', 'Intermittent machines that are off, as they may be')}
      {silent > 0 && (
        <button type="button" class="problem off" onClick={() => setParams({ drawer: 'silent' }, false)}>
          <Icon name="wait" />
          <b>{silent}</b> not reporting
        </button>
      )}
    </div>
  );
}

const DEFAULT_HIDDEN = ['kernel', 'exporter', 'memoryStalled'];

function fleetColumns(spark: Map<string, (number | null)[]>): Column<FleetRow>[] {
  return [
    {
      id: 'state',
      title: 'Status',
      width: '104px',
      sort: (r) =>
        STATES.indexOf(r.state) * 1000 - Math.min(999, r.critical * 30 + r.warning * 3 + (r.unitsFailed ?? 0)),
      cell: (r) => {
        const l = LOOK[r.state];
        return (
          <Status level={l.level} icon={l.icon}>
            {l.word}
          </Status>
        );
      },
    },
    {
      id: 'name',
      title: 'Machine',
      class: 'machine',
      min: 230,
      sort: (r) => r.name,
      cell: (r) => (
        <span
          class="namecell"
          title={[r.why, r.tags.length && `tags: ${r.tags.join(', ')}`].filter(Boolean).join('\n')}
        >
          <a class="ellipsis" href={href(machinePath(r.name))}>
            <b>{r.name}</b>
          </a>
          {/* What is wrong needs the room more than tags do; tags that do not fit are left out whole. */}
          {r.why ? (
            <span class="dim ellipsis why">{r.why}</span>
          ) : (
            <span class="tags">
              {r.tags.map((t) => (
                <button
                  type="button"
                  class="chip"
                  key={t}
                  tabIndex={-1}
                  title={`Only tag ${t}`}
                  onClick={() => setParams({ tag: t }, false)}
                >
                  {t}
                </button>
              ))}
            </span>
          )}
        </span>
      ),
    },
    {
      id: 'cpu',
      title: 'CPU',
      num: true,
      width: '144px',
      sort: (r) => r.cpu,
      cell: (r) => (
        <span class="cpucell">
          <Spark values={spark.get(r.name)} max={1} label={`CPU of ${r.name} over an hour`} />
          <b>{format(r.cpu, 'ratio')}</b>
        </span>
      ),
    },
    {
      id: 'memory',
      title: 'Memory',
      num: true,
      width: '112px',
      sort: (r) => r.memory,
      cell: (r) => <Meter value={r.memory} warn={0.95} crit={2} />,
    },
    {
      id: 'filesystem',
      title: 'Fullest file system',
      head: 'Disk',
      num: true,
      width: '112px',
      sort: (r) => r.filesystem,
      cell: (r) => <Meter value={r.filesystem} warn={0.9} crit={0.97} />,
    },
    {
      id: 'network',
      title: 'Network in and out, bit/s',
      head: 'Net, bit/s',
      num: true,
      width: '144px',
      rank: 3,
      sort: (r) => (r.receive === undefined ? undefined : r.receive + (r.transmit ?? 0)),
      cell: (r) =>
        r.receive === undefined ? (
          '–'
        ) : (
          <span title="received, sent">
            {format(r.receive * 8)} <span class="dim">↓</span>{' '}
            {format(r.transmit === undefined ? undefined : r.transmit * 8)} <span class="dim">↑</span>
          </span>
        ),
    },
    {
      id: 'io',
      title: 'Time stalled on IO',
      head: 'IO stall',
      num: true,
      width: '84px',
      rank: 5,
      sort: (r) => r.ioStalled,
      cell: (r) => format(r.ioStalled, 'ratio'),
    },
    {
      id: 'memoryStalled',
      title: 'Time stalled on memory',
      head: 'Mem. stall',
      num: true,
      width: '98px',
      rank: 7,
      sort: (r) => r.memoryStalled,
      cell: (r) => format(r.memoryStalled, 'ratio'),
    },
    {
      id: 'temperature',
      title: 'Hottest sensor',
      head: 'Temp.',
      num: true,
      width: '72px',
      rank: 4,
      sort: (r) => r.temperature,
      cell: (r) => (r.temperature === undefined ? '–' : `${Math.round(r.temperature)} °C`),
    },
    {
      id: 'units',
      title: 'Failed units',
      head: 'Failed',
      num: true,
      width: '76px',
      rank: 1,
      sort: (r) => r.unitsFailed,
      cell: (r) =>
        r.unitsFailed ? (
          <a class="status warn" href={href(machinePath(r.name), { tab: 'services' })}>
            {r.unitsFailed}
          </a>
        ) : r.unitsFailed === 0 ? (
          <span class="dim">0</span>
        ) : (
          '–'
        ),
    },
    {
      id: 'uptime',
      title: 'Uptime',
      num: true,
      width: '118px',
      rank: 2,
      sort: (r) => (r.booted ? (at.value ?? now.value) - r.booted : undefined),
      cell: (r) => (
        <span class="uptime">
          {r.reboot && (
            <span class="status info" title="A reboot is due: another kernel is installed">
              <Icon name="refresh" />
              <span class="sr">A reboot is due. </span>
            </span>
          )}
          {r.booted ? ago((at.value ?? now.value) - r.booted) : '–'}
        </span>
      ),
    },
    {
      id: 'os',
      title: 'System',
      width: '136px',
      rank: 6,
      sort: (r) => r.os,
      cell: (r) => <span title={r.os}>{r.os ? shortSystem(r.os) : '–'}</span>,
    },
    {
      id: 'kernel',
      title: 'Kernel',
      width: '130px',
      rank: 8,
      sort: (r) => r.kernel,
      cell: (r) => <span title={r.kernel}>{r.kernel || '–'}</span>,
    },
    {
      id: 'exporter',
      title: 'Exporter',
      width: '130px',
      rank: 9,
      sort: (r) => r.exporter,
      cell: (r) => <span title={r.exporter}>{r.exporter || '–'}</span>,
    },
  ];
}

function Card({ r }: { r: FleetRow }) {
  const l = LOOK[r.state];
  return (
    <span class="machinecard">
      <span class="row">
        <b class="grow ellipsis">{r.name}</b>
        <Status level={l.level} icon={l.icon} badge>
          {l.word}
        </Status>
      </span>
      <span class="dim ellipsis">
        {r.why ||
          [
            r.os && shortSystem(r.os),
            r.booted && `up ${ago((at.value ?? now.value) - r.booted)}`,
            r.reboot && 'reboot due',
          ]
            .filter(Boolean)
            .join(' · ') ||
          '–'}
      </span>
      <span class="figures">
        <span>
          <span class="dim">CPU</span>
          <Meter value={r.cpu} plain />
        </span>
        <span>
          <span class="dim">Memory</span>
          <Meter value={r.memory} warn={0.95} crit={2} />
        </span>
        <span>
          <span class="dim">Disk</span>
          <Meter value={r.filesystem} warn={0.9} crit={0.97} />
        </span>
      </span>
    </span>
  );
}

// useSparks asks for the CPU lines of the rows in sight, all in one request.
const sparkCache = new RangeCache(4);
function useSparks() {
  const [data, setData] = useState(new Map<string, (number | null)[]>());
  const names = useRef<string[]>([]);
  const timer = useRef(0);
  const abort = useRef<AbortController>();
  const load = useCallback(() => {
    abort.current?.abort();
    if (!names.current.length) return;
    const step = 60;
    const end = Math.floor((at.value ?? Date.now() / 1000) / step) * step;
    const grid = { start: end - 3600, end, step };
    const expr = `machine:cpu_used:ratio{machine=~${quote(anyOf(names.current))}}`;
    const asked = sparkCache.missing(expr, grid);
    const mine = (abort.current = new AbortController());
    queryRange(expr, asked.start, asked.end, step, mine.signal).then(
      (m) => {
        if (mine.signal.aborted) return;
        const frame = sparkCache.put(expr, grid, asked, m);
        setData((old) => {
          const next = new Map(old);
          for (const s of frame.series) next.set(s.metric.machine ?? '', s.values);
          return next;
        });
      },
      () => undefined,
    ); // the page's own requests tell of a server that is away
  }, []);
  const want = useCallback((rows: FleetRow[]) => {
    const wanted = [...new Set(rows.map((r) => r.name))].sort();
    if (wanted.join('\n') === names.current.join('\n')) return;
    names.current = wanted;
    clearTimeout(timer.current);
    timer.current = window.setTimeout(load, 200);
  }, []);
  const t = tick.value;
  const when = at.value;
  useEffect(() => {
    load();
  }, [t, when]);
  useEffect(
    () => () => {
      clearTimeout(timer.current);
      abort.current?.abort();
    },
    [],
  );
  return { data, want };
}

function NoMachines({ disco, silent }: { disco: Discovery | undefined; silent: number }) {
  const methods = disco?.methods ?? [];
  const broken = methods.filter((m) => m.error);
  return (
    <Empty
      icon="fleet"
      title="No machines"
      why={
        methods.length
          ? `Searched by ${methods.map((m) => m.method).join(', ')}${broken.length ? `. ${broken.map((m) => `${m.method}: ${m.error}`).join('. ')}` : silent ? ', which found something that does not answer with metrics' : ', which found nothing'}.`
          : 'The targets of this server carry no label “machine”, or there are none. Targets and Explore show what is scraped. With NixOS, this finds the machines of a tailnet:'
      }
    >
      {!methods.length && (
        <Snippet text={'services.clanmon.server = {\n  enable = true;\n  discoveryMethod = "tailscale";\n};'} />
      )}
      <span class="row">
        {silent > 0 && (
          <button type="button" class="btn" onClick={() => setParams({ drawer: 'silent' }, false)}>
            Not reporting: {silent}
          </button>
        )}
        <a class="btn" href={href('/targets')}>
          Targets and discovery
        </a>
      </span>
    </Empty>
  );
}

// What a reason of server/fleet/gate.go means, and what to do about it.
const HINT: Record<string, string> = {
  refused: 'Nothing listens there: start an exporter.',
  timeout: 'Nothing comes back: a firewall or the access rules of the tailnet may be in the way, or it is off.',
  'no route': 'There is no way to it from here.',
  'name not found': 'Its name has no address.',
  'no metrics': 'Something answers that has no metrics.',
};

const MOST_SILENT = 60;

function NotReporting({ d, onClose }: { d: Discovery; onClose: () => void }) {
  const by = new Map<string, Waiting[]>();
  for (const w of d.waiting ?? []) by.set(w.machine, [...(by.get(w.machine) ?? []), w]);
  const machines = [...by].sort(([a], [b]) => names.compare(a, b));
  const reasons = new Map<string, string[]>();
  for (const l of d.leftOut ?? []) reasons.set(l.reason, [...(reasons.get(l.reason) ?? []), l.device]);
  return (
    <Overlay kind="sheet" title="Not reporting" onClose={onClose}>
      <p class="dim">
        Found, but nothing there has answered with metrics yet. These raise no alert. On a machine that should report:
      </p>
      <Snippet text="clanmon exporter" />
      {machines.slice(0, MOST_SILENT).map(([machine, list]) => (
        <section class="panel" key={machine}>
          <div class="body stack silent">
            <div class="row">
              <b class="grow">{machine}</b>
              <span class="dim">found by {[...new Set(list.map((w) => w.method))].join(', ')}</span>
            </div>
            {list.map((w) => (
              <div key={w.instance + w.job}>
                <div class="row">
                  <span class="chip">{w.job}</span>
                  <Status level="off" icon="wait">
                    {w.reason || 'not asked yet'}
                  </Status>
                  {w.attempts > 0 && (
                    <span class="dim">
                      asked {w.attempts} {w.attempts === 1 ? 'time' : 'times'}
                    </span>
                  )}
                </div>
                {w.error && (
                  <p class="dim wrap" title={w.error}>
                    {HINT[w.reason] ?? w.error}
                  </p>
                )}
                <Snippet text={`curl -sS http://${w.address}/metrics | head`} />
              </div>
            ))}
          </div>
        </section>
      ))}
      {machines.length > MOST_SILENT && (
        <p>
          and {machines.length - MOST_SILENT} more, in <a href={href('/service-discovery')}>discovery</a>
        </p>
      )}
      {reasons.size > 0 && (
        <details>
          <summary>{d.leftOut!.length} left out on purpose</summary>
          {[...reasons].map(([reason, devices]) => (
            <p key={reason} class="wrap">
              <b>{reason}</b>:{' '}
              <span class="dim">
                {devices.slice(0, 20).join(', ')}
                {devices.length > 20 && ` and ${devices.length - 20} more`}
              </span>
            </p>
          ))}
        </details>
      )}
    </Overlay>
  );
}

const names = new Intl.Collator('en', { numeric: true });
