// systemd's units over the whole fleet: what is wrong, by unit, by machine.
import { useCallback, useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { vector } from '../api/prom';
import { useAlertRules } from '../components/alerts/useAlerts';
import { Ago, Empty, ErrorNote, Loading, Menu, stale } from '../components/bits';
import { Icon } from '../components/icons';
import { NoMatch } from '../components/NoMatch';
import { figureColumns, NoUnits, ServicesOf, UnitCard } from '../components/services/ServicesOf';
import { UnitSheet, unitParams } from '../components/services/UnitSheet';
import { UnitWhy, WHY, whyText } from '../components/services/look';
import { Status } from '../components/Status';
import { Table, type Column } from '../components/Table';
import {
  addFigures,
  countsQuery,
  coverage,
  coverageText,
  fewNames,
  figuresQuery,
  forUnits,
  hostsQuery,
  liveQuery,
  MAIN_TYPES,
  problemsQuery,
  readCounts,
  readHosts,
  readProblems,
  selectorsOf,
  typeIn,
  whereOf,
  WHYS,
  type Find,
  type HostCount,
  type Unit,
  type UnitCount,
  type Why,
} from '../lib/services';
import { machineFinder } from '../lib/selector';
import { OK } from '../lib/words';
import type { FleetRow } from '../api/types/machines';
import { at, frozen, tick, useOld } from '../state/clock';
import { useData } from '../state/data';
import { useFleet } from '../state/fleet';
import { href, hereWith, machinePath, param, setParams, tagFilter } from '../state/location';

const VIEWS = [
  ['', 'Problems'],
  ['units', 'By unit'],
  ['machines', 'By machine'],
] as const;

export default function ServicesPage() {
  const view = param('view');
  const of = param('of'); // an instance without a machine, in the view by machine
  const { rows: fleet } = useFleet();
  const finder = (fleet ?? []).map((m) => (m.labelled === false ? `${m.name} ${m.selector}` : '')).join('\n');
  const find = useMemo(() => machineFinder(fleet ?? []), [finder]);
  const asked = useData('unit problems', (s) => vector(problemsQuery, at.value, s));
  const rules = useMemo(() => readProblems(asked.data ?? []).rules, [asked.data]);
  // Without the built-in rules the states themselves are asked for; with them, those of
  // machines that no built-in rule looks at.
  const need = !asked.data ? null : !rules ? 'all' : finder.trim() ? 'unlabelled' : null;
  const live = useData(need && `unit problems live ${need}`, (s) => vector(liveQuery(need ?? 'all'), at.value, s));
  const all = useMemo(
    () => readProblems([...(asked.data ?? []), ...((need && live.data) || [])], find).units,
    [asked.data, live.data, need, find],
  );
  const tag = tagFilter.value;
  const tags = useMemo(() => [...new Set((fleet ?? []).flatMap((m) => m.tags ?? []))].sort(), [fleet]);
  const mine = useMemo(() => (tag ? (fleet ?? []).filter((m) => m.tags?.includes(tag)) : fleet), [fleet, tag]);
  const tagged = useMemo(() => (tag ? new Set((mine ?? []).map((m) => m.name)) : null), [mine, tag]);
  const problems = useMemo(() => (tagged ? all.filter((u) => tagged.has(u.where.machine ?? '')) : all), [all, tagged]);
  const error = asked.error ?? live.error;
  const loaded = !!asked.data && (!need || !!live.data);
  const old = useOld(asked.time);
  const more = { tags, tagged, problems, fleet: mine, find, time: asked.time };

  return (
    <>
      <div class="pagehead">
        <h1>Services</h1>
        {old && (
          <Status level="warn" badge>
            updated <Ago time={asked.time} suffix=" ago" />
          </Status>
        )}
      </div>
      <nav class="tabs" aria-label="Views">
        {VIEWS.map(([id, title]) => (
          <a
            key={id}
            href={hereWith({
              view: id || null,
              q: null,
              type: null,
              state: null,
              why: null,
              sort: null,
              unit: null,
              on: null,
              instance: null,
              of: null,
            })}
            aria-current={view === id ? 'page' : undefined}
          >
            {title}
            {id === '' && problems.length > 0 && (
              <span class={`count ${problems.some((u) => u.state === 'failed') ? 'crit' : 'warn'}`}>
                {problems.length}
              </span>
            )}
          </a>
        ))}
      </nav>
      <ErrorNote error={error} what={asked.data ? stale(asked.time) : 'The units could not be loaded'} />
      {view === 'units' ? (
        <ByUnit {...more} />
      ) : view === 'machines' ? (
        of ? (
          <>
            <div class="row">
              <a class="btn" href={hereWith({ of: null, q: null, type: null, state: null, sort: null, unit: null })}>
                <Icon name="left" />
                All
              </a>
              <h2>{of}</h2>
            </div>
            <ServicesOf key={of} where={whereOf({ instance: of }, find)} />
          </>
        ) : (
          <ByMachine {...more} />
        )
      ) : loaded ? (
        <Problems {...more} />
      ) : (
        !error && <Loading lines={5} />
      )}
      {!of && <UnitSheet find={find} fleet={fleet} />}
    </>
  );
}

interface More {
  tags: string[];
  tagged: Set<string> | null; // the machines that have the tag, null for all
  problems: Unit[];
  fleet: FleetRow[] | undefined; // with the tag
  find: Find;
  time: number;
}

function TagMenu({ tags }: { tags: string[] }) {
  const tag = tagFilter.value;
  if (!tags.length) return null;
  return (
    <Menu icon="filter" label={tag || 'All tags'} title="Filter by tag">
      {(close) => (
        <>
          <button
            type="button"
            aria-selected={!tag}
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
              aria-selected={tag === t}
              onClick={() => {
                setParams({ tag: t }, false);
                close();
              }}
            >
              {t}
            </button>
          ))}
        </>
      )}
    </Menu>
  );
}

const Search = ({ what }: { what: string }) => (
  <input
    class="field"
    type="search"
    aria-label={`Filter ${what}`}
    placeholder={`Filter: ${what}`}
    value={param('q')}
    onInput={(e) => setParams({ q: e.currentTarget.value })}
  />
);

const words = (text: string) => text.toLowerCase().split(/\s+/).filter(Boolean);

function Problems({ problems, tags, fleet, find, time }: More) {
  const why = param('why');
  const type = param('type');
  const q = param('q');
  const shown = useMemo(
    () =>
      problems.filter(
        (u) =>
          (!why || u.why === why) &&
          (!type || u.type === type) &&
          words(q).every((w) => `${u.name} ${u.host}`.toLowerCase().includes(w)),
      ),
    [problems, why, type, q],
  );
  const { units, want } = useFigures(shown);
  const types = [...new Set(problems.map((u) => u.type))].sort();
  const columns = useMemo(() => problemColumns(), []);
  const rules = useBuiltinRules();
  const cover = useCoverage(fleet, find);
  if (!problems.length) return <Calm time={time} fleet={fleet} find={find} />;
  return (
    <div class="stack services">
      <div class="row">
        <Search what="unit or machine" />
        <TagMenu tags={tags} />
        {types.length > 1 && (
          <Menu icon="filter" label={type || 'All types'} title="Filter by type">
            {(close) =>
              ['', ...types].map((t) => (
                <button
                  type="button"
                  key={t}
                  aria-selected={type === t}
                  onClick={() => {
                    setParams({ type: t });
                    close();
                  }}
                >
                  {t || 'All types'}
                </button>
              ))
            }
          </Menu>
        )}
        <span class="whys" role="group" aria-label="Filter by problem">
          {WHYS.filter((w) => w === why || problems.some((u) => u.why === w)).map((w) => (
            <button
              type="button"
              key={w}
              class={`problem ${WHY[w].level}`}
              aria-pressed={why === w}
              onClick={() => setParams({ why: why === w ? null : w }, false)}
            >
              <Icon name={WHY[w].icon} />
              <b>{problems.filter((u) => u.why === w).length}</b> {WHY[w].word}
            </button>
          ))}
        </span>
      </div>
      <div class="panel">
        <Table<Unit>
          fixed
          label="Units with problems"
          rows={units}
          columns={columns}
          rowKey={(u) => u.key}
          defaultSort="why"
          pagewide
          onVisible={want}
          href={(u) => hereWith(unitParams(u.name, u.where))}
          card={(u) => <UnitCard u={u} host why={<UnitWhy u={u} />} />}
          empty={<NoMatch what="units" params={['q', 'why', 'type', 'tag']} of={problems.length} />}
        />
      </div>
      {rules === false && <RulesOff />}
      {cover && coverageText(cover) && <p class="note">{coverageText(cover)}</p>}
    </div>
  );
}

// useBuiltinRules says whether the built-in rules are evaluated, undefined while that
// is not known.
function useBuiltinRules(): boolean | undefined {
  const groups = useAlertRules();
  return groups.data?.some((g) => g.file.startsWith('clanmon:'));
}

const RulesOff = () => (
  <p class="note">
    Built-in rules are off (<code>--rules.builtin</code>): frequent restarts and task limits are not checked.
  </p>
);

// Every systemd has the unit -.mount; exporters of others do not say whether they could
// read units.
const COLLECTED =
  'clanmon_exporter_collector_success{collector="systemd"} or on (machine, instance) {__name__=~"(node_)?systemd_unit_state",name="-.mount",state="active"} == 1';

// useCoverage is of which machines the units are known; undefined while that is not
// known itself. Of a time in the past only what was stored is.
function useCoverage(fleet: FleetRow[] | undefined, find: Find) {
  const asking = !frozen.value && !!fleet?.some((r) => r.unitsFailed === undefined);
  const success = useData(asking ? 'units collected' : null, (s) => vector(COLLECTED, undefined, s), 60);
  return useMemo(() => {
    if (!fleet || frozen.value || (asking && !success.data)) return undefined;
    const collected = new Map<string, boolean>();
    for (const s of success.data ?? []) {
      const name = find(s.metric);
      if (name !== undefined) collected.set(name, s.value?.[1] === '1');
    }
    return coverage(fleet, collected);
  }, [fleet, find, success.data, asking, frozen.value]);
}

// Calm is green only where somebody looked at the units of every machine.
function Calm({ time, fleet, find }: Pick<More, 'time' | 'fleet' | 'find'>) {
  const rules = useBuiltinRules();
  const cover = useCoverage(fleet, find);
  const any = useData(
    fleet?.length && !frozen.value ? null : 'units at all',
    (s) =>
      vector('count by (machine, instance) ({__name__=~"(node_)?systemd_unit_state",state="active"})', at.value, s),
    60,
  );
  if (!cover?.total && !any.data) return any.error ? <ErrorNote error={any.error} /> : <Loading />;
  const known = cover?.total ? cover.known : (any.data?.length ?? 0);
  if (!known && !cover?.total)
    return (
      <div class="panel">
        <NoUnits />
      </div>
    );
  const none = known === 0;
  const text = cover ? coverageText(cover) : '';
  const of = text || frozen.value ? ` on ${known} ${known === 1 ? 'machine' : 'machines'}` : '';
  const what = 'No failed, crash-looping or stuck units';
  return (
    <div class="stack">
      <div class="panel">
        <Empty
          icon={text && none ? 'warn' : text || none ? 'info' : 'ok'}
          title={
            none ? 'No units known' : text || frozen.value ? `${what}${of}` : <span class="status ok">{what}</span>
          }
          why={
            <>
              {text || none ? (
                text
              ) : frozen.value ? (
                'At the end of the selected range.'
              ) : (
                <>
                  {rules && 'No timer is overdue. '}Checked <Ago time={time} suffix=" ago" />.
                </>
              )}
              {!!cover?.off.length && ` ${fewNames(cover.off)} ${cover.off.length === 1 ? 'is' : 'are'} offline.`}
            </>
          }
        >
          {!none && (
            <a class="btn" href={hereWith({ view: 'units' })}>
              All units
            </a>
          )}
          {text && (
            <a class="btn" href={href('/targets')}>
              Targets
            </a>
          )}
        </Empty>
      </div>
      {rules === false && <RulesOff />}
    </div>
  );
}

function problemColumns(): Column<Unit>[] {
  return [
    {
      id: 'why',
      title: 'Problem',
      width: '260px',
      sort: (u) => WHYS.indexOf(u.why as Why),
      cell: (u) => (
        <span class="whycell">
          <UnitWhy u={u} />
          <span class="dim ellipsis" title={whyText(u)}>
            {whyText(u)}
          </span>
        </span>
      ),
    },
    {
      id: 'name',
      title: 'Unit',
      min: 200,
      sort: (u) => u.name,
      cell: (u) => (
        <a class="ellipsis unitname" href={hereWith(unitParams(u.name, u.where))} title={u.name}>
          {u.name}
        </a>
      ),
    },
    {
      id: 'host',
      title: 'Machine',
      width: '180px',
      sort: (u) => u.host,
      cell: (u) =>
        u.where.machine ? <a href={href(machinePath(u.where.machine), { tab: 'services' })}>{u.host}</a> : u.host,
    },
    ...figureColumns,
  ];
}

// useFigures asks for the figures of the rows in sight, all in one request.
function useFigures(rows: Unit[]) {
  const [figures, setFigures] = useState(new Map<string, Unit>());
  const visible = useRef<Unit[]>([]);
  const timer = useRef(0);
  const abort = useRef<AbortController>();
  const load = useCallback(() => {
    const units = visible.current.slice(0, 100);
    abort.current?.abort();
    if (!units.length) return;
    const mine = (abort.current = new AbortController());
    vector(figuresQuery(forUnits(units)), at.value, mine.signal).then(
      (samples) => {
        const known = addFigures(new Map(units.map((u) => [u.key, u])), samples);
        setFigures((old) => new Map([...old, ...known]));
      },
      () => undefined,
    ); // the page's own requests tell of a server that is away
  }, []);
  const want = useCallback((units: Unit[]) => {
    visible.current = units;
    clearTimeout(timer.current);
    timer.current = window.setTimeout(load, 150);
  }, []);
  const t = tick.value;
  useEffect(() => {
    load();
  }, [t]);
  useEffect(
    () => () => {
      clearTimeout(timer.current);
      abort.current?.abort();
    },
    [],
  );
  // The state is the list's own; only figures come from what was loaded.
  const units = useMemo(() => rows.map((u) => ({ ...figures.get(u.key), ...u })), [rows, figures]);
  return { units, want };
}

function ByUnit({ tagged, tags, problems, fleet }: More) {
  const q = param('q');
  // A unit that is named has the type that its name says.
  const type = param('type') || typeIn(q) || typeIn(param('unit')) || 'service';
  const only = param('state');
  const selectors = useMemo(() => (tagged ? selectorsOf(fleet ?? []) : null), [tagged, fleet]);
  const key = `unit counts ${type} ${selectors ? selectors.join() : ''}`;
  const counted = useData(key, (s) => vector(countsQuery(type === 'all' ? '' : type, selectors), at.value, s), 60);
  const rows = useMemo(() => readCounts(counted.data ?? [], problems), [counted.data, problems]);
  const shown = useMemo(
    () =>
      rows.filter(
        (u) =>
          words(q).every((w) => u.name.toLowerCase().includes(w)) &&
          (!only ||
            (only === 'failed' ? u.failed > 0 : only === 'some' ? u.active > 0 && u.active < u.total : u.active === 0)),
      ),
    [rows, q, only],
  );
  if (!counted.data)
    return counted.error ? (
      <ErrorNote error={counted.error} what="The units could not be loaded" />
    ) : (
      <Loading lines={5} />
    );
  return (
    <div class="stack services">
      <div class="row">
        <Search what="unit name" />
        <TagMenu tags={tags} />
        <Menu icon="filter" label={type === 'all' ? 'All types' : type} title="Filter by type">
          {(close) =>
            [...MAIN_TYPES, 'target', 'slice', 'scope', 'device', 'all'].map((t) => (
              <button
                type="button"
                key={t}
                aria-selected={type === t}
                onClick={() => {
                  setParams({ type: t === 'service' && !typeIn(q) ? null : t });
                  close();
                }}
              >
                {t === 'all' ? 'All types' : t}
              </button>
            ))
          }
        </Menu>
        <span class="group" role="group" aria-label="Filter by state">
          {[
            ['failed', 'failed on a machine'],
            ['some', 'not active everywhere'],
            ['none', 'active nowhere'],
          ].map(([id, text]) => (
            <button
              type="button"
              class="btn"
              key={id}
              aria-pressed={only === id}
              onClick={() => setParams({ state: only === id ? null : id }, false)}
            >
              {text}
            </button>
          ))}
        </span>
        <span class="dim grow num">
          {shown.length === rows.length ? `${rows.length} units` : `${shown.length} of ${rows.length} units`}
        </span>
      </div>
      <ErrorNote error={counted.error} what={stale(counted.time)} />
      <div class="panel">
        <Table<UnitCount>
          fixed
          label="Units by name"
          rows={shown}
          rowKey={(u) => u.name}
          defaultSort="-failed"
          pagewide
          href={(u) => hereWith(unitParams(u.name))}
          columns={countColumns}
          card={(u) => (
            <span class="unitcard">
              <b class="ellipsis">{u.name}</b>
              <Share u={u} words="active on " />
              <span class="row">
                {u.failed > 0 && <Status level="crit">{u.failed} failed</Status>}
                {u.starting > 0 && (
                  <Status level="info" icon="wait">
                    {u.starting} starting
                  </Status>
                )}
              </span>
            </span>
          )}
          empty={
            rows.length ? (
              <Empty icon="services" title={`No ${type === 'all' ? 'unit' : type}s match the filter`}>
                <span class="row">
                  {type !== 'all' && q && (
                    <button type="button" class="btn primary" onClick={() => setParams({ type: 'all', state: null })}>
                      Search all types
                    </button>
                  )}
                  <button type="button" class="btn" onClick={() => setParams({ q: null, state: null, type: null })}>
                    Show all services
                  </button>
                </span>
              </Empty>
            ) : type === 'service' ? (
              <NoUnits />
            ) : (
              <Empty icon="services" title={`No units of type ${type}`}>
                <button type="button" class="btn" onClick={() => setParams({ type: 'all' })}>
                  Show all types
                </button>
              </Empty>
            )
          }
        />
      </div>
    </div>
  );
}

function Share({ u, words }: { u: UnitCount; words?: string }) {
  const part = (n: number) => `${(n / Math.max(1, u.total)) * 100}%`;
  return (
    <span class="figurebar">
      <span class="track" aria-hidden="true">
        <i class="ok" style={{ width: part(u.active) }} />
        <i class="info" style={{ width: part(u.starting) }} />
        <i class="crit" style={{ width: part(u.failed) }} />
      </span>
      <span class="of">
        {words}
        {u.active} of {u.total}
      </span>
    </span>
  );
}

const countColumns: Column<UnitCount>[] = [
  {
    id: 'name',
    title: 'Unit',
    min: 200,
    sort: (u) => u.name,
    cell: (u) => (
      <a class="ellipsis unitname" href={hereWith(unitParams(u.name))} title={u.name}>
        {u.name}
      </a>
    ),
  },
  {
    id: 'active',
    title: 'Machines where it is active',
    head: 'Active on',
    num: true,
    width: '260px',
    sort: (u) => u.active,
    cell: (u) => <Share u={u} />,
  },
  {
    id: 'failed',
    title: 'Failed',
    num: true,
    width: '120px',
    sort: (u) => u.failed,
    cell: (u) => (u.failed ? <Status level="crit">{u.failed} failed</Status> : <span class="dim">0</span>),
  },
  {
    id: 'starting',
    title: 'Starting',
    num: true,
    width: '120px',
    rank: 1,
    sort: (u) => u.starting,
    cell: (u) =>
      u.starting ? (
        <Status level="info" icon="wait">
          {u.starting}
        </Status>
      ) : (
        <span class="dim">0</span>
      ),
  },
  {
    id: 'idle',
    title: 'Inactive',
    num: true,
    width: '120px',
    sort: (u) => u.total - u.active - u.failed - u.starting,
    cell: (u) => Math.max(0, u.total - u.active - u.failed - u.starting) || <span class="dim">0</span>,
  },
];

function ByMachine({ problems, tags, tagged, find, fleet }: More) {
  const q = param('q');
  const counted = useData('unit hosts', (s) => vector(hostsQuery, at.value, s), 60);
  const rows = useMemo(
    () => readHosts(counted.data ?? [], problems, find).filter((h) => !tagged || tagged.has(h.where.machine ?? '')),
    [counted.data, problems, tagged, find],
  );
  const cover = useCoverage(fleet, find);
  const shown = useMemo(() => rows.filter((h) => words(q).every((w) => h.host.toLowerCase().includes(w))), [rows, q]);
  if (!counted.data)
    return counted.error ? (
      <ErrorNote error={counted.error} what="The machines could not be loaded" />
    ) : (
      <Loading lines={5} />
    );
  return (
    <div class="stack services">
      <div class="row">
        <Search what="machine" />
        <TagMenu tags={tags} />
        <span class="dim grow num">
          {shown.length} {shown.length === 1 ? 'machine' : 'machines'}
        </span>
      </div>
      <ErrorNote error={counted.error} what={stale(counted.time)} />
      <div class="panel">
        <Table<HostCount>
          fixed
          label="Units by machine"
          rows={shown}
          rowKey={(h) => h.host}
          defaultSort="-problems"
          pagewide
          href={hostHref}
          columns={hostColumns}
          card={(h) => (
            <span class="unitcard">
              <span class="row nowraprow">
                <b class="grow ellipsis">{h.host}</b>
                <HostState h={h} />
              </span>
              <span class="dim">
                {h.running} of {h.services} services running
              </span>
              <span class="row figures">
                {h.failed > 0 && <Status level="crit">{h.failed} failed</Status>}
                {h.looping > 0 && (
                  <Status level="crit" icon="refresh">
                    {h.looping} crash-looping
                  </Status>
                )}
                {h.problems - h.failed - h.looping > 0 && (
                  <Status level="warn">{h.problems - h.failed - h.looping} more</Status>
                )}
              </span>
            </span>
          )}
          empty={
            rows.length ? (
              <Empty icon="fleet" title="No machines match the filter">
                <button type="button" class="btn" onClick={() => setParams({ q: null, tag: null })}>
                  Show all
                </button>
              </Empty>
            ) : (
              <NoUnits />
            )
          }
        />
      </div>
      {cover && coverageText(cover) && <p class="note">{coverageText(cover)}</p>}
    </div>
  );
}

const hostHref = (h: HostCount) =>
  h.where.machine
    ? href(machinePath(h.where.machine), { tab: 'services' })
    : hereWith({ of: h.host, q: null, sort: null });

function HostState({ h }: { h: HostCount }) {
  if (h.failed || h.looping)
    return (
      <Status level="crit">
        {h.problems} {h.problems === 1 ? 'problem' : 'problems'}
      </Status>
    );
  if (h.problems)
    return (
      <Status level="warn">
        {h.problems} {h.problems === 1 ? 'problem' : 'problems'}
      </Status>
    );
  return <Status level="ok">{OK}</Status>;
}

const count = (n: number, level: 'crit' | 'warn') =>
  n ? <span class={`status ${level}`}>{n}</span> : <span class="dim">0</span>;

const hostColumns: Column<HostCount>[] = [
  {
    id: 'problems',
    title: 'Status',
    width: '140px',
    sort: (h) => h.problems + h.failed * 1000 + h.looping * 1000,
    cell: (h) => <HostState h={h} />,
  },
  {
    id: 'host',
    title: 'Machine',
    min: 180,
    sort: (h) => h.host,
    cell: (h) => (
      <a class="unitname" href={hostHref(h)}>
        {h.host}
      </a>
    ),
  },
  {
    id: 'failed',
    title: 'Failed',
    num: true,
    width: '96px',
    sort: (h) => h.failed,
    cell: (h) => count(h.failed, 'crit'),
  },
  {
    id: 'looping',
    title: 'Crash-looping',
    num: true,
    width: '124px',
    rank: 1,
    sort: (h) => h.looping,
    cell: (h) => count(h.looping, 'crit'),
  },
  {
    id: 'stuck',
    title: 'Stuck starting',
    num: true,
    width: '124px',
    rank: 2,
    sort: (h) => h.stuck,
    cell: (h) => count(h.stuck, 'warn'),
  },
  {
    id: 'overdue',
    title: 'Timers overdue',
    num: true,
    width: '128px',
    rank: 3,
    sort: (h) => h.overdue,
    cell: (h) => count(h.overdue, 'warn'),
  },
  {
    id: 'other',
    title: 'Other problems',
    num: true,
    width: '128px',
    rank: 4,
    sort: (h) => h.other,
    cell: (h) => count(h.other, 'warn'),
  },
  {
    id: 'services',
    title: 'Services running',
    num: true,
    width: '240px',
    sort: (h) => h.running,
    cell: (h) => (
      <span class="figurebar">
        <span class="track" aria-hidden="true">
          <i class="ok" style={{ width: `${(h.running / Math.max(1, h.services)) * 100}%` }} />
        </span>
        <span class="of">
          {h.running} of {h.services}
        </span>
      </span>
    ),
  },
];
