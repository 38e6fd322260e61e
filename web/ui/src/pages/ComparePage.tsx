// Machines side by side: each chart of the overview with a line of each machine, or of
// all machines with a tag.
import { useMemo } from 'preact/hooks';
import { vector } from '../api/prom';
import { Ago, Empty, ErrorNote, Loading } from '../components/bits';
import { Chart } from '../components/Chart';
import { Icon } from '../components/icons';
import { MachineState } from '../components/MachineState';
import { Marks } from '../components/Marks';
import { Meter } from '../components/Meter';
import { Status } from '../components/Status';
import { Table, type Column } from '../components/Table';
import { exprOf, MOST, overall, PANELS, subStep, WAY_NAMES, WAYS, wayOf, worstQuery, type Way } from '../lib/compare';
import { exprFor } from '../lib/chart';
import { hasTag, shortSystem, type FleetRow } from '../lib/fleet';
import { ago, unitNamed } from '../lib/format';
import { direct, used, type Limiting } from '../lib/limits';
import type { Panel } from '../lib/panel';
import { at, now, range } from '../state/clock';
import { useData } from '../state/data';
import { useFleet } from '../state/fleet';
import { useLimiting } from '../state/limits';
import { go, href, location, machinePath, param, setParams, tagFilter } from '../state/location';
import { compareHref } from '../state/picked';
import './compare.css';

type Row = FleetRow & { unknown?: boolean }; // nothing discovers it any more

export default function ComparePage() {
  const fleet = useFleet();
  const names = [...new Set(location.value.params.getAll('m'))].slice(0, MOST);
  const asked = names.join('\n');
  const tag = names.length ? '' : tagFilter.value;
  // What nothing knows any more may still have samples.
  const machines = useMemo<Row[]>(
    () =>
      tag
        ? (fleet.rows ?? []).filter((r) => hasTag(r, tag))
        : names.map((name) => fleet.rows?.find((r) => r.name === name) ?? { name, state: 'waiting', unknown: true }),
    [fleet.rows, tag, asked],
  );
  const way = tag ? wayOf(param('by'), machines.length) : 'each';
  const colours = useMemo(() => new Map(machines.map((m, i) => [m.name, `var(--series-${(i % 8) + 1})`])), [machines]);
  const own = useMemo(() => new Set(machines.map((m) => m.name)), [machines.map((m) => m.name).join('\n')]);
  if (!fleet.rows && !fleet.error) return <Loading lines={5} />;
  return (
    <>
      <div class="pagehead">
        <h1>Compare</h1>
        {tag && machines.length ? (
          <TagHead tag={tag} n={machines.length} way={way} />
        ) : (
          <Names names={names} rows={fleet.rows ?? []} />
        )}
      </div>
      <ErrorNote error={fleet.error} what="The machines could not be loaded" />
      {machines.length === 0 || (names.length === 1 && !tag) ? (
        <div class="panel">
          <Empty
            icon="fleet"
            title={
              tag ? `No machine has the tag ${tag}` : names.length ? 'Add a second machine' : 'No machines selected'
            }
            why="Select two to eight machines on Fleet, or a tag."
          >
            <a class="btn" href={href('/', { tag: null })}>
              Fleet
            </a>
          </Empty>
        </div>
      ) : (
        <>
          {way === 'each' && <Facts machines={machines} colours={colours} />}
          <Marks machines={own}>
            <div class="mgrid">
              {PANELS.map((p) =>
                way === 'worst' ? (
                  <Worst key={p.title} panel={p} machines={machines} />
                ) : (
                  <One key={p.title} panel={p} machines={machines} way={way} tag={tag} colours={colours} />
                ),
              )}
            </div>
          </Marks>
        </>
      )}
    </>
  );
}

function Names({ names, rows }: { names: string[]; rows: FleetRow[] }) {
  const without = (name: string) =>
    compareHref(
      names.filter((n) => n !== name),
      kept(),
    );
  const add = (e: Event & { currentTarget: HTMLInputElement }) => {
    const name = e.currentTarget.value;
    if (names.includes(name) || !rows.some((r) => r.name === name)) return;
    e.currentTarget.value = '';
    go(compareHref([...names, name], kept()));
  };
  return (
    <>
      {names.map((n, i) => (
        <span class="chip compared" key={n}>
          <span class="swatch" style={{ color: `var(--series-${i + 1})` }} />
          <a href={href(machinePath(n))}>{n}</a>
          <a class="btn plain icon" href={without(n)} aria-label={`Remove ${n}`} title={`Remove ${n}`}>
            <Icon name="close" />
          </a>
        </span>
      ))}
      {names.length < MOST && (
        <>
          <input
            class="field"
            type="search"
            list="comparable"
            aria-label="Add a machine"
            placeholder="Add a machine"
            onInput={add}
          />
          <datalist id="comparable">
            {rows
              .filter((r) => !names.includes(r.name))
              .map((r) => (
                <option key={r.name} value={r.name} />
              ))}
          </datalist>
        </>
      )}
    </>
  );
}

// What stays when other machines are chosen.
const kept = () => ({ past: param('past') });

function TagHead({ tag, n, way }: { tag: string; n: number; way: Way }) {
  return (
    <>
      <span>
        <b>{tag}</b>{' '}
        <span class="dim">
          {n} {n === 1 ? 'machine' : 'machines'}
        </span>
      </span>
      <span class="ways group" role="group" aria-label="One line for">
        {WAYS.filter((w) => w !== 'each' || n <= MOST).map((w) => (
          <button
            type="button"
            class="btn"
            key={w}
            aria-pressed={way === w}
            onClick={() => setParams({ by: w }, false)}
          >
            {WAY_NAMES[w]}
          </button>
        ))}
      </span>
    </>
  );
}

function One({
  panel: p,
  machines,
  way,
  tag,
  colours,
}: {
  panel: Panel;
  machines: FleetRow[];
  way: Way;
  tag: string;
  colours: Map<string, string>;
}) {
  const one = way === 'each' ? undefined : `${WAY_NAMES[way]} of ${tag}`;
  const all = useLimiting();
  return (
    <Chart
      live
      level={2}
      title={p.title}
      {...(way === 'sum' && p.unit === 'ratio' && { note: '100 % is one machine' })}
      unit={unitNamed(p.unit)}
      {...(p.min !== undefined && { min: p.min })}
      {...(p.max !== undefined && { max: p.max })}
      hideEmpty={p.title === 'Temperature'}
      // A sum or a mean is not what a rule compares.
      {...(way !== 'sum' && way !== 'mean' && { limits: () => limitsOf(all, p.title) })}
      queries={p.queries.map((q) => ({
        ...q,
        expr: overall(exprOf(q.expr, machines), way),
        name: (l) => [one ?? l.machine, q.legend].filter(Boolean).join(' '),
        colour: (l) => colours.get(l.machine ?? ''),
      }))}
    />
  );
}

// What a rule compares with bytes too depends on the machine, and is not drawn here.
function limitsOf(all: Limiting[], title: string) {
  if (title === 'Fullest file system') return used(all, 'FilesystemFull', /^volume:free:ratio/);
  if (title === 'CPU waiting') return direct(all, 'CpuStarved', /^rate\(node_pressure_cpu_waiting/);
  if (title === 'I/O stalled') return direct(all, 'IoStalled', /^rate\(node_pressure_io_stalled/);
  if (title === 'Memory stalled') return direct(all, 'MemoryStalled', /^rate\(node_pressure_memory_stalled/);
  return [];
}

// Which machines are worst is chosen over the range first, so that the lines stay the
// same machines throughout.
function Worst({ panel: p, machines }: { panel: Panel; machines: FleetRow[] }) {
  const { from, to, relative } = range.value;
  const length = to - from;
  const expr = exprFor(exprOf(p.queries[0]!.expr, machines), subStep(length));
  const worst = useData(
    `worst ${expr} ${relative ?? `${from} ${to}`}`,
    (s) => vector(worstQuery(expr, length), at.value, s),
    300,
  );
  const names = (worst.data ?? [])
    .sort((a, b) => Number(b.value?.[1]) - Number(a.value?.[1]))
    .map((v) => v.metric.machine ?? '');
  const chosen = names.flatMap((n) => machines.find((m) => m.name === n) ?? []);
  if (worst.error) return <ErrorNote error={worst.error} what={p.title} />;
  if (!worst.data) return <Loading lines={4} />;
  const colours = new Map(names.map((n, i) => [n, `var(--series-${(i % 8) + 1})`]));
  return <One panel={p} machines={chosen.length ? chosen : machines.slice(0, 1)} way="each" tag="" colours={colours} />;
}

// Facts are what machines are, in which they differ more often than in load.
function Facts({ machines, colours }: { machines: Row[]; colours: Map<string, string> }) {
  const columns: Column<Row>[] = [
    {
      id: 'name',
      title: 'Machine',
      sort: (r) => r.name,
      cell: (r) => (
        <a href={href(machinePath(r.name))} class="nowrap">
          <span class="swatch" style={{ color: colours.get(r.name) }} /> <b>{r.name}</b>
        </a>
      ),
    },
    {
      id: 'state',
      title: 'Status',
      cell: (r) => (r.unknown ? <Status level="off">Unknown</Status> : <MachineState row={r} />),
    },
    { id: 'cpu', title: 'CPU', num: true, sort: (r) => r.cpu, cell: (r) => <Meter value={r.cpu} plain /> },
    {
      id: 'memory',
      title: 'Memory',
      num: true,
      sort: (r) => r.memory,
      cell: (r) => <Meter value={r.memory} warn={0.95} crit={2} />,
    },
    {
      id: 'disk',
      title: 'Disk',
      num: true,
      sort: (r) => r.filesystem,
      cell: (r) => <Meter value={r.filesystem} warn={0.9} crit={0.97} />,
    },
    {
      id: 'uptime',
      title: 'Uptime',
      num: true,
      sort: (r) => r.booted,
      cell: (r) => (r.booted && r.up ? ago((at.value ?? now.value) - r.booted) : '–'),
    },
    { id: 'os', title: 'System', class: 'nowrap', cell: (r) => (r.os ? shortSystem(r.os) : '–') },
    { id: 'kernel', title: 'Kernel', class: 'nowrap', cell: (r) => r.kernel ?? '–' },
    ...(machines.some((r) => r.why)
      ? [
          {
            id: 'why',
            title: 'Trouble',
            class: 'ellipsis',
            cell: (r: FleetRow) => (
              <span class="dim">
                {r.since && r.state !== 'ok' && (
                  <>
                    <Ago time={Date.parse(r.since) / 1000} /> {r.why && '· '}
                  </>
                )}
                {r.why}
              </span>
            ),
          },
        ]
      : []),
  ];
  return (
    <section class="panel">
      <Table
        label="Compared machines"
        rows={machines}
        columns={columns}
        rowKey={(r) => r.name}
        sortParam="order"
        listKeys={false}
      />
    </section>
  );
}
