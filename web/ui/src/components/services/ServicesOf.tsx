// All units of one machine, for its page and for the fleet's Services page.
import { useMemo } from 'preact/hooks';
import { vector } from '../../api/prom';
import {
  addFigures,
  figuresQuery,
  MAIN_TYPES,
  readStates,
  since,
  STATES,
  stateQuery,
  typeIn,
  type Unit,
  type Where,
} from '../../lib/services';
import { format } from '../../lib/format';
import { at, now } from '../../state/clock';
import { useData } from '../../state/data';
import { hereWith, param, setParams } from '../../state/location';
import { Ago, Empty, ErrorNote, Loading, Menu, Snippet, stale } from '../bits';
import { Table, type Column } from '../Table';
import { NextRun, RunResult, UnitState } from './look';
import { UnitSheet, unitParams } from './UnitSheet';
import './services.css';

// Params of the URL that it uses: q, type, state, sort, unit.
// time is of when the units are, in Unix seconds, where the machine does not respond.
export function ServicesOf({ where, time }: { where: Where; time?: number | undefined }) {
  const { host, selector } = where;
  const when = time === undefined ? '' : ` of ${Math.round(time)}`;
  const states = useData(`units ${selector}${when}`, (s) => vector(stateQuery(selector), time ?? at.value, s));
  const figures = useData(`unit figures ${selector}${when}`, (s) =>
    vector(figuresQuery(selector), time ?? at.value, s),
  );
  const all = useMemo(
    () => [...addFigures(readStates(states.data ?? []), figures.data ?? []).values()],
    [states.data, figures.data],
  );
  const text = param('q').toLowerCase();
  const type = param('type') || typeIn(text) || typeIn(param('unit')) || '';
  const state = param('state');
  const ofType = all.filter((u) => (type === 'all' ? true : type ? u.type === type : MAIN_TYPES.includes(u.type)));
  const rows = useMemo(
    () => ofType.filter((u) => (!state || u.state === state) && u.name.toLowerCase().includes(text)),
    [all, text, type, state],
  );
  const columns = useMemo(() => unitColumns(where, type), [selector, type]);

  if (!states.data)
    return states.error ? (
      <ErrorNote error={states.error} what="The units could not be loaded" />
    ) : (
      <Loading lines={5} />
    );
  if (!all.length)
    return (
      <div class="panel">
        <NoUnits host={host} />
      </div>
    );
  const failed = all.filter((u) => u.state === 'failed').length;
  return (
    <div class="stack services">
      <div class="row">
        <input
          class="field"
          type="search"
          aria-label="Filter units"
          placeholder="Filter: unit name"
          value={param('q')}
          onInput={(e) => setParams({ q: e.currentTarget.value })}
        />
        <TypeMenu all={all} />
        <StateButtons units={ofType} />
        <span class="dim grow num">
          {rows.length} of {all.length} units
          {failed > 0 && state !== 'failed' && (
            <>
              ,{' '}
              <a class="status crit" href={hereWith({ state: 'failed', type: 'all' })}>
                {failed} failed
              </a>
            </>
          )}
        </span>
      </div>
      <ErrorNote error={states.error ?? figures.error} what={stale(states.time)} />
      <div class="panel">
        <Table<Unit>
          fixed
          label={`Units of ${host}`}
          rows={rows}
          columns={columns}
          rowKey={(u) => u.key}
          defaultSort="state"
          pagewide
          rowClass={() => (states.error ? 'old' : '')}
          href={(u) => hereWith(unitParams(u.name, where.instance === undefined ? undefined : where))}
          card={(u) => <UnitCard u={u} />}
          empty={
            <Empty icon="services" title="No units match the filter">
              <button type="button" class="btn" onClick={() => setParams({ q: null, type: 'all', state: null })}>
                Show all
              </button>
            </Empty>
          }
        />
      </div>
      <UnitSheet where={where} />
    </div>
  );
}

export function NoUnits({ host }: { host?: string }) {
  return (
    <Empty
      icon="services"
      title={host ? `No systemd units of ${host}` : 'No systemd units'}
      why="Units come from clanmon's exporter, systemd_exporter, or node_exporter with its systemd collector."
    >
      <Snippet
        text={'clanmon exporter                     # systemd is on by default\nnode_exporter --collector.systemd'}
      />
    </Empty>
  );
}

export function TypeMenu({ all }: { all: { type: string }[] }) {
  const type = param('type');
  const counts = new Map<string, number>();
  for (const u of all) counts.set(u.type, (counts.get(u.type) ?? 0) + 1);
  const types = [...counts.keys()].sort(
    (a, b) => (MAIN_TYPES.indexOf(a) + 1 || 99) - (MAIN_TYPES.indexOf(b) + 1 || 99) || (a < b ? -1 : 1),
  );
  return (
    <Menu icon="filter" label={type === 'all' ? 'All types' : type || 'Main types'} title="Filter by type">
      {(close) => (
        <>
          <button
            type="button"
            aria-selected={!type}
            onClick={() => {
              setParams({ type: null });
              close();
            }}
            title={MAIN_TYPES.join(', ')}
          >
            Main types
          </button>
          <button
            type="button"
            aria-selected={type === 'all'}
            onClick={() => {
              setParams({ type: 'all' });
              close();
            }}
          >
            <span class="grow">All types</span>
            <span class="dim num">{all.length}</span>
          </button>
          <hr />
          {types.map((t) => (
            <button
              type="button"
              key={t}
              aria-selected={type === t}
              onClick={() => {
                setParams({ type: t });
                close();
              }}
            >
              <span class="grow">{t}</span>
              <span class="dim num">{counts.get(t)}</span>
            </button>
          ))}
        </>
      )}
    </Menu>
  );
}

function StateButtons({ units }: { units: Unit[] }) {
  const state = param('state');
  const there = STATES.filter((s) => s === state || units.some((u) => u.state === s));
  return (
    <span class="group" role="group" aria-label="Filter by state">
      {there.map((s) => (
        <button
          type="button"
          class="btn"
          key={s}
          aria-pressed={state === s}
          onClick={() => setParams({ state: state === s ? null : s }, false)}
        >
          {s} <span class="dim">{units.filter((u) => u.state === s).length}</span>
        </button>
      ))}
    </span>
  );
}

function unitColumns(where: Where, type: string): Column<Unit>[] {
  return [
    {
      id: 'state',
      title: 'State',
      width: '116px',
      sort: (u) => STATES.indexOf(u.state) * 10 + MAIN_TYPES.indexOf(u.type),
      cell: (u) => <UnitState state={u.state} />,
    },
    {
      id: 'name',
      title: 'Unit',
      min: 200,
      sort: (u) => u.name,
      cell: (u) => (
        <a
          class="ellipsis unitname"
          href={hereWith(unitParams(u.name, where.instance === undefined ? undefined : where))}
          title={u.name}
        >
          {u.name}
        </a>
      ),
    },
    ...(type === 'timer' ? timerColumns : figureColumns),
  ];
}

// Columns of figures, which all tables of units share.
export const figureColumns: Column<Unit>[] = [
  {
    id: 'since',
    title: 'In this state for',
    head: 'For',
    num: true,
    width: '112px',
    sort: (u) => {
      const s = since(u);
      return s === undefined ? undefined : now.value - s;
    },
    cell: (u) => <Ago time={since(u)} />,
  },
  {
    id: 'restarts',
    title: 'Restarts within 24 hours',
    head: 'Restarts 24h',
    num: true,
    width: '116px',
    rank: 3,
    sort: (u) => u.restarts,
    cell: (u) =>
      u.restarts === undefined ? (
        <span class="dim">–</span>
      ) : u.restarts >= 0.5 ? (
        <b>{Math.round(u.restarts)}</b>
      ) : (
        <span class="dim">0</span>
      ),
  },
  {
    id: 'cpu',
    title: 'CPU over 5 minutes; 100 % is one core',
    head: 'CPU',
    num: true,
    width: '76px',
    rank: 2,
    sort: (u) => u.cpu,
    cell: (u) => figure(u.cpu, (v) => format(v, 'ratio')),
  },
  {
    id: 'memory',
    title: 'Memory',
    num: true,
    width: '96px',
    rank: 1,
    sort: (u) => u.memory,
    cell: (u) => figure(u.memory, (v) => format(v, 'bytes')),
  },
  {
    id: 'tasks',
    title: 'Tasks',
    num: true,
    width: '76px',
    rank: 4,
    sort: (u) => u.tasks,
    cell: (u) =>
      u.tasks !== undefined && u.tasksMax && u.tasks / u.tasksMax > 0.8 ? (
        <span class="status warn" title={`limit ${u.tasksMax}`}>
          {format(u.tasks, 'count')}
        </span>
      ) : (
        figure(u.tasks, (v) => format(v, 'count'))
      ),
  },
  {
    id: 'run',
    title: 'Last run of the timer',
    head: 'Last run',
    num: true,
    width: '136px',
    rank: 5,
    sort: (u) => (u.lastRun ? now.value - u.lastRun : undefined),
    cell: (u) =>
      u.type === 'timer' && u.lastRun === undefined ? (
        <span class="dim">never</span>
      ) : (
        <Ago time={u.lastRun} suffix=" ago" />
      ),
  },
];

const orNever = (t: number | undefined) => (t ? <Ago time={t} suffix=" ago" /> : <span class="dim">never</span>);

// Columns of timers, in place of what only services have.
export const timerColumns: Column<Unit>[] = [
  figureColumns[0]!,
  {
    id: 'run',
    title: 'Last run',
    num: true,
    width: '136px',
    sort: (u) => (u.lastRun ? now.value - u.lastRun : undefined),
    cell: (u) => orNever(u.lastRun),
  },
  {
    id: 'result',
    title: 'Result of the last run',
    head: 'Result',
    width: '130px',
    rank: 1,
    sort: (u) => u.result,
    cell: (u) => <RunResult result={u.result} />,
  },
  {
    id: 'next',
    title: 'Next run',
    num: true,
    width: '170px',
    sort: (u) => u.nextRun,
    cell: (u) => <NextRun u={u} />,
  },
];

const figure = (v: number | undefined, text: (v: number) => string) =>
  v === undefined ? <span class="dim">–</span> : text(v);

export function UnitCard({ u, host = false, why }: { u: Unit; host?: boolean; why?: preact.ComponentChildren }) {
  return (
    <span class="unitcard">
      <span class="row nowraprow">
        <b class="grow ellipsis">{u.name}</b>
        {why ?? <UnitState state={u.state} />}
      </span>
      <span class="dim ellipsis">
        {host && <>{u.host} · </>}
        {since(u) ? (
          <>
            for <Ago time={since(u)} />
          </>
        ) : (
          u.type
        )}
      </span>
      <span class="row dim figures">
        {u.restarts !== undefined && u.restarts >= 0.5 && <b>{Math.round(u.restarts)} restarts / 24h</b>}
        {u.cpu !== undefined && <span>CPU {format(u.cpu, 'ratio')}</span>}
        {u.memory !== undefined && <span>{format(u.memory, 'bytes')}</span>}
        {u.tasks !== undefined && <span>{format(u.tasks, 'count')} tasks</span>}
        {u.type === 'timer' && (
          <span>
            {u.overdue ? <NextRun u={u} /> : null}{' '}
            {u.lastRun ? (
              <>
                ran <Ago time={u.lastRun} suffix=" ago" />
              </>
            ) : (
              'never ran'
            )}
          </span>
        )}
      </span>
    </span>
  );
}
