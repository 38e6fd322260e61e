// The sheet of a unit: on one machine its history, what it uses and what to
// type; without a machine, the machines that have it.
import { useMemo } from 'preact/hooks';
import { queryRange, quote, vector } from '../../api/prom';
import type { FleetRow } from '../../api/types/machines';
import { selectorOf } from '../../lib/selector';
import {
  addFigures,
  figuresQuery,
  readStates,
  stateQuery,
  whereOf,
  type Find,
  since,
  spansOf,
  commandsFor,
  STATES,
  typeOf,
  type Span,
  type Unit,
  type Where,
} from '../../lib/services';
import { ago, format } from '../../lib/format';
import { journalUnit } from '../../lib/journal';
import { clock, dateTime, stepFor } from '../../lib/time';
import { at, range } from '../../state/clock';
import { useData } from '../../state/data';
import { go, href, hereWith, machinePath, param, setParams } from '../../state/location';
import { isUTC } from '../../state/prefs';
import { Ago, Empty, ErrorNote, Loading, Overlay, Snippet, Time } from '../bits';
import { Chart } from '../Chart';
import { Icon } from '../icons';
import { Journal, noJournal } from '../look/Journal';
import { Table, type Column } from '../Table';
import { Timeline } from '../Timeline';
import { NextRun, RunResult, stateLevel, UnitState } from './look';

// The sheet is open while the URL names a unit; where is given on the page of a
// machine, else the URL says it.
export function UnitSheet({ where, find, fleet }: { where?: Where; find?: Find; fleet?: FleetRow[] | undefined }) {
  const name = param('unit');
  if (!name) return null;
  const machine = param('on');
  const instance = param('instance');
  const row = fleet?.find((r) => r.name === machine);
  const w =
    where ??
    (machine
      ? { host: machine, machine, selector: selectorOf(row, machine) }
      : instance
        ? whereOf({ instance }, find)
        : undefined);
  const close = () => setParams({ unit: null, on: null, instance: null, ...noJournal });
  return (
    <Overlay kind="sheet" title={name} onClose={close}>
      {w ? (
        <UnitOn key={`${w.selector} ${name}`} name={name} where={w} back={!where} />
      ) : (
        <UnitEverywhere key={name} name={name} find={find} />
      )}
    </Overlay>
  );
}

export const unitParams = (name: string, w?: Where) => ({
  unit: name,
  on: w && w.instance === undefined ? (w.machine ?? null) : null,
  instance: w?.instance ?? null,
});

const hosts = new Intl.Collator('en', { numeric: true });

function UnitEverywhere({ name, find }: { name: string; find: Find | undefined }) {
  const sel = `name=${quote(name)}`;
  const timer = typeOf(name) === 'timer';
  const states = useData(`unit ${name}`, (s) => vector(stateQuery(sel), at.value, s));
  const figures = useData(`unit figures ${sel}`, (s) => vector(figuresQuery(sel), at.value, s));
  const units = useMemo(
    () => [...addFigures(readStates(states.data ?? [], find), figures.data ?? []).values()],
    [states.data, figures.data, find],
  );
  const columns = useMemo(() => everywhereColumns(name, timer), [name, timer]);
  if (!states.data) return states.error ? <ErrorNote error={states.error} /> : <Loading />;
  const rows = units.sort((a, b) => hosts.compare(a.host, b.host));
  const active = rows.filter((u) => u.state === 'active').length;
  return (
    <>
      <ErrorNote error={states.error} />
      <p class="dim">
        Active on {active} of {rows.length} {rows.length === 1 ? 'machine' : 'machines'} that have it.
      </p>
      <div class="panel">
        <Table<Unit>
          label={`Machines with ${name}`}
          rows={rows}
          rowKey={(u) => u.key}
          sortParam="usort"
          defaultSort="state"
          listKeys={false}
          onOpen={(u) => setParams(unitParams(name, u.where), false)}
          columns={columns}
          empty={
            <Empty
              icon="services"
              title="No machine has this unit"
              why="It may have been stopped and unloaded. Select an earlier range to see it."
            />
          }
        />
      </div>
    </>
  );
}

function everywhereColumns(name: string, timer: boolean): Column<Unit>[] {
  return [
    {
      id: 'state',
      title: 'State',
      sort: (u) => STATES.indexOf(u.state),
      cell: (u) => <UnitState state={u.state} />,
    },
    {
      id: 'host',
      title: 'Machine',
      sort: (u) => u.host,
      cell: (u) => <a href={hereWith(unitParams(name, u.where))}>{u.host}</a>,
    },
    ...(timer
      ? ([
          {
            id: 'run',
            title: 'Last run',
            num: true,
            sort: (u) => u.lastRun,
            cell: (u) => (u.lastRun ? <Ago time={u.lastRun} suffix=" ago" /> : <span class="dim">never</span>),
          },
          { id: 'result', title: 'Result', sort: (u) => u.result, cell: (u) => <RunResult result={u.result} /> },
          { id: 'next', title: 'Next run', num: true, sort: (u) => u.nextRun, cell: (u) => <NextRun u={u} /> },
        ] satisfies Column<Unit>[])
      : ([
          { id: 'since', title: 'For', num: true, sort: since, cell: (u) => <Ago time={since(u)} /> },
        ] satisfies Column<Unit>[])),
  ];
}

interface History {
  spans: Span[];
  from: number;
  to: number;
  step: number;
}

function useHistory(sel: string) {
  const r = range.value;
  const id = r.relative ?? `${r.from} ${r.to}`;
  return useData<History>(`unit history ${sel} ${id}`, async (s) => {
    const { from, to } = range.value;
    const step = stepFor(to - from, 15, 400);
    const start = Math.floor(from / step) * step;
    const end = Math.floor(to / step) * step;
    const series = await queryRange(`{__name__=~"(node_)?systemd_unit_state",${sel}}`, start, end, step, s);
    return { spans: spansOf(series, start, end, step), from: start, to: end, step };
  });
}

function UnitOn({ name, where, back }: { name: string; where: Where; back: boolean }) {
  const sel = `${where.selector},name=${quote(name)}`;
  const now = useData(`unit all ${sel}`, (s) =>
    vector(`{__name__=~"(node_|clanmon_)?systemd_.+",${sel}}`, at.value, s),
  );
  const history = useHistory(sel);
  const { host } = where;
  const get = (metric: string, label = '', value = '') => {
    const s = now.data?.find(
      (x) => x.metric.__name__?.replace(/^node_/, '') === metric && (!label || x.metric[label] === value),
    );
    const v = Number(s?.value?.[1]);
    return s && !Number.isNaN(v) ? v : undefined;
  };
  const state =
    now.data?.find((s) => s.metric.__name__?.endsWith('systemd_unit_state') && s.value?.[1] === '1')?.metric.state ??
    '';
  const type = typeOf(name);
  const unit: Unit = { key: '', where, host, name, type, state };
  const active = get('systemd_unit_active_enter_time_seconds') ?? get('systemd_unit_start_time_seconds');
  const inactive = get('systemd_unit_inactive_enter_time_seconds');
  if (active) unit.activeSince = active;
  if (inactive) unit.inactiveSince = inactive;
  const service = now.data?.find((s) => s.metric.__name__ === 'systemd_unit_info')?.metric;
  const max = get('systemd_unit_tasks_max');
  const tasks = get('systemd_unit_tasks_current');
  const ran = get('systemd_timer_last_trigger_seconds');
  const restarts = get('systemd_service_restart_total');
  const oom = get('systemd_unit_oom_kills_total');
  const timer: Pick<Unit, 'nextRun' | 'overdue'> = {};
  const next = get('clanmon_systemd_timer_next_elapse_timestamp_seconds');
  const overdue = get('clanmon_systemd_timer_overdue_seconds');
  if (next) timer.nextRun = next;
  if (overdue) timer.overdue = overdue;
  const ended = now.data?.find(
    (x) => x.metric.__name__ === 'clanmon_systemd_timer_last_result' && x.value?.[1] === '1',
  )?.metric;
  const accepted = get('systemd_socket_accepted_connections_total');
  const memory = get('systemd_unit_memory_bytes', 'kind', 'current');
  const labels = now.data?.[0]?.metric;
  const gone = !!now.data && now.data.length === 0;
  return (
    <>
      <div class="row">
        <UnitState state={state} badge />
        {since(unit) && (
          <span class="dim">
            for <Ago time={since(unit)} />, since <Time time={since(unit)} withSeconds />
          </span>
        )}
      </div>
      <div class="row">
        {where.machine ? (
          <a class="btn" href={href(machinePath(where.machine), { tab: 'services' })}>
            <Icon name="fleet" />
            {host}
          </a>
        ) : (
          <span class="chip">{host}</span>
        )}
        {back && (
          <button type="button" class="btn" onClick={() => setParams({ on: null, instance: null }, false)}>
            <Icon name="services" />
            On all machines
          </button>
        )}
        <button
          type="button"
          class="btn"
          onClick={() => go(href('/explore', { 'g0.expr': `{__name__=~"(node_)?systemd_.+",${sel}}` }))}
        >
          <Icon name="chart" />
          Explore
        </button>
      </div>
      <ErrorNote error={now.error} />
      {!now.data && !now.error && <Loading />}
      {gone && (
        <p class="note">
          {host} no longer reports this unit: it was unloaded after it stopped, or the machine is down. Its history is
          below.
        </p>
      )}
      {now.data && !gone && (
        <dl class="facts">
          {service?.service_type && (
            <>
              <dt>Type</dt>
              <dd>
                {type}, {service.service_type}
              </dd>
            </>
          )}
          {unit.activeSince !== undefined && state !== 'active' && (
            <>
              <dt>Last active since</dt>
              <dd>
                <Time time={unit.activeSince} withSeconds />
              </dd>
            </>
          )}
          {restarts !== undefined && (
            <>
              <dt>Restarts</dt>
              <dd>{format(restarts, 'count')} since it started</dd>
            </>
          )}
          {tasks !== undefined && (
            <>
              <dt>Tasks</dt>
              <dd>
                {format(tasks, 'count')}
                {max !== undefined && max < 1e15 && ` of ${format(max, 'count')}`}
              </dd>
            </>
          )}
          {memory !== undefined && (
            <>
              <dt>Memory</dt>
              <dd>
                {format(memory, 'bytes')}
                {get('systemd_unit_memory_bytes', 'kind', 'peak') !== undefined &&
                  `, peak ${format(get('systemd_unit_memory_bytes', 'kind', 'peak'), 'bytes')}`}
              </dd>
            </>
          )}
          {type === 'timer' && (
            <>
              <dt>Last run</dt>
              <dd>
                {ran ? (
                  <>
                    <Ago time={ran} suffix=" ago" />, <Time time={ran} withSeconds />
                  </>
                ) : (
                  'never'
                )}
              </dd>
              {ended && (
                <>
                  <dt>Result</dt>
                  <dd>
                    <RunResult result={ended.result} />
                    {ended.unit && (
                      <span class="intext">
                        {' '}
                        of <a href={hereWith(unitParams(ended.unit, where))}>{ended.unit}</a>
                      </span>
                    )}
                  </dd>
                </>
              )}
              {(next !== undefined || overdue !== undefined) && (
                <>
                  <dt>Next run</dt>
                  <dd>
                    <NextRun u={timer} />
                    {next ? (
                      <>
                        , <Time time={next} withSeconds />
                      </>
                    ) : null}
                  </dd>
                </>
              )}
            </>
          )}
          {accepted !== undefined && (
            <>
              <dt>Connections</dt>
              <dd>
                {format(accepted, 'count')} accepted, {format(get('systemd_socket_current_connections'), 'count')} now
              </dd>
            </>
          )}
          {!!oom && (
            <>
              <dt>Out of memory</dt>
              <dd class="status crit">
                {format(oom, 'count')} {oom === 1 ? 'process' : 'processes'} killed
              </dd>
            </>
          )}
          {labels && (
            <>
              <dt>Source</dt>
              <dd>
                {labels.job} {labels.instance}
              </dd>
            </>
          )}
        </dl>
      )}
      {where.machine && (
        <Journal
          machine={where.machine}
          unit={journalUnit(name)}
          moment={state === 'failed' ? inactive : undefined}
          beside={state === 'failed'}
        />
      )}
      <section class="panel" aria-label="State history">
        <header>
          <h3>State history</h3>
          <span class="dim">{range.value.relative ? `last ${range.value.relative}` : 'selected range'}</span>
        </header>
        <div class="body stack">
          <ErrorNote error={history.error} />
          {history.data && <HistoryOf h={history.data} />}
        </div>
      </section>
      <Resources sel={sel} type={type} />
      <section class="stack" aria-label="Commands">
        <h3>On the machine</h3>
        {commandsFor(unit).map((c) => (
          <div key={c.text}>
            <span class="dim">{c.what}</span>
            <Snippet text={c.text} />
          </div>
        ))}
      </section>
    </>
  );
}

function HistoryOf({ h }: { h: History }) {
  const known = h.spans.filter((s) => s.state);
  if (!known.length) return <p class="dim">No data in this range.</p>;
  const changes = known.slice(1).reverse();
  return (
    <>
      <Timeline
        axis
        from={h.from}
        to={h.to}
        label={known.map((s) => `${s.state} for ${ago(s.to - s.from)}`).join(', ')}
        spans={h.spans.map((s) => ({
          from: s.from,
          to: s.to,
          level: stateLevel(s.state),
          label: s.state || 'unknown',
        }))}
      />
      {changes.length === 0 ? (
        <p class="dim">
          {known[0]!.state} for the whole {known[0]!.from > h.from ? 'recorded time' : 'range'}
        </p>
      ) : (
        <ol class="changes">
          {changes.slice(0, 8).map((s) => (
            <li key={s.from}>
              {h.to - h.from > 80000 ? (
                <Time time={s.from} />
              ) : (
                <time dateTime={new Date(s.from * 1000).toISOString()} title={dateTime(s.from, isUTC(), true)}>
                  {clock(s.from, isUTC(), h.step < 60)}
                </time>
              )}
              <UnitState state={s.state} />
              <span class="dim">for {ago(s.to - s.from)}</span>
            </li>
          ))}
          {changes.length > 8 && <li class="dim">and {changes.length - 8} changes before</li>}
        </ol>
      )}
      <p class="dim small">{format(h.step, 'seconds')} resolution</p>
    </>
  );
}

function Resources({ sel, type }: { sel: string; type: string }) {
  const dark = { height: 120, hideEmpty: true, level: 3 as const };
  const task = { expr: `{__name__=~"(node_)?systemd_unit_tasks_current",${sel}}`, name: () => 'tasks' };
  if (type === 'timer' || type === 'path' || type === 'socket' || type === 'target') return null;
  return (
    <>
      <Chart
        {...dark}
        title="CPU"
        note="100 % is one core"
        unit="ratio"
        min={0}
        stack
        queries={[
          { expr: `sum by (mode) (rate(systemd_unit_cpu_seconds_total{${sel}}[$rate]))`, name: (l) => l.mode ?? 'all' },
        ]}
      />
      <Chart
        {...dark}
        title="Memory"
        unit="bytes"
        min={0}
        queries={[{ expr: `systemd_unit_memory_bytes{kind!="peak",${sel}}`, name: (l) => l.kind ?? 'memory' }]}
      />
      <Chart
        {...dark}
        title="Disk reads and writes"
        unit="bytesps"
        queries={[
          { expr: `sum by (mode) (rate(systemd_unit_io_bytes_total{mode="read",${sel}}[$rate]))`, name: () => 'read' },
          {
            expr: `sum by (mode) (rate(systemd_unit_io_bytes_total{mode="write",${sel}}[$rate]))`,
            name: () => 'written',
            negate: true,
          },
        ]}
      />
      <Chart {...dark} title="Tasks" unit="count" min={0} queries={[task]} />
      <Chart
        {...dark}
        title="Restarts"
        unit="count"
        min={0}
        queries={[
          {
            expr: `{__name__=~"(node_)?systemd_service_restart_total",${sel}} > 0`,
            name: () => 'restarts since it started',
          },
        ]}
      />
    </>
  );
}
