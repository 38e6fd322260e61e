// Capacity: what is full next, and what expires. A row links to its chart.
import { useMemo } from 'preact/hooks';
import { capacity as fetchCapacity } from '../api/capacity';
import type { CapacityRow } from '../api/types/capacity';
import { Empty, ErrorNote, LastAnswer, Loading, stale } from '../components/bits';
import { Icon } from '../components/icons';
import { Meter } from '../components/Meter';
import { NoMatch } from '../components/NoMatch';
import { Status } from '../components/Status';
import { States } from '../components/States';
import { Table, type Column } from '../components/Table';
import { Traffic } from '../components/Traffic';
import {
  amount,
  chartOf,
  dueText,
  expires,
  fits,
  GROUPS,
  growthText,
  KINDS,
  noneDueText,
  rangeText,
  rank,
  rowKey,
  titleOf,
  urgency,
} from '../lib/capacity';
import { hasTag } from '../lib/fleet';
import { date } from '../lib/time';
import { now } from '../state/clock';
import { useData } from '../state/data';
import { useFleet } from '../state/fleet';
import { href, param, setParams, tagFilter } from '../state/location';
import { isUTC } from '../state/prefs';
import './jobs.css';

export default function CapacityPage() {
  const list = useData('capacity', fetchCapacity, 60);
  const { rows: fleet } = useFleet();
  const [text, group] = [param('q'), param('kind')];
  const soon = param('show') === 'soon';
  const tag = tagFilter.value;
  const all = list.data?.rows ?? [];
  const at = list.data?.at ?? now.value;
  const machines = useMemo(
    () => (tag ? new Set((fleet ?? []).filter((m) => hasTag(m, tag)).map((m) => m.name)) : null),
    [fleet, tag],
  );
  const here = useMemo(
    () => all.filter((r) => fits(r, { text, group: '', soon: false, machines }, at)),
    [all, text, machines],
  );
  const rows = useMemo(
    () => here.filter((r) => fits(r, { text: '', group, soon, machines: null }, at)),
    [here, group, soon],
  );
  const columns = useMemo(() => columnsAt(at), [at]);
  if (!list.data && !list.error)
    return (
      <>
        <Head />
        <Loading lines={5} />
      </>
    );
  const none = noneDueText(here);
  return (
    <>
      <Head>
        {all.length > 0 && (
          <input
            class="field"
            type="search"
            aria-label="Filter capacity"
            placeholder="Filter: machine, path, device"
            value={text}
            onInput={(e) => setParams({ q: e.currentTarget.value })}
          />
        )}
        <LastAnswer time={list.time} />
      </Head>
      <ErrorNote error={list.error} what={list.data ? stale(list.time) : 'The capacity could not be loaded'} />
      {all.length > 0 && (
        <States
          label="Kinds"
          all={[
            {
              id: 'soon',
              n: here.filter((r) => fits(r, { text: '', group: '', soon: true, machines: null }, at)).length,
              level: 'warn',
              icon: 'clock',
              word: 'within 7 days',
            },
            ...GROUPS.map((g) => ({
              id: g.id,
              n: here.filter((r) => g.kinds.includes(r.kind)).length,
              level: 'off',
              icon: 'list',
              word: g.word.toLowerCase(),
            })),
          ]}
          chosen={(s) => (s === 'soon' ? soon : group === s)}
          onChoose={(s) =>
            setParams(s === 'soon' ? { show: soon ? null : 'soon' } : { kind: group === s ? null : s }, false)
          }
        />
      )}
      {none && (
        <p class="note">
          <Icon name={here.some((r) => r.known) ? 'ok' : 'wait'} /> {none}
        </p>
      )}
      <section class={`panel${list.error ? ' stale' : ''}`}>
        <Table
          label="Capacity"
          pagewide
          fixed
          rows={rows}
          columns={columns}
          rowKey={rowKey}
          defaultSort="due"
          href={(r) => chartHref(r)}
          card={(r) => <Card r={r} at={at} />}
          empty={
            all.length ? (
              <NoMatch what="entries" params={['q', 'kind', 'show', 'tag']} of={all.length} />
            ) : (
              <Empty
                title="No data yet"
                why="File systems, inodes and memory appear here after the first scrape of a node exporter, certificates after the first check."
              />
            )
          }
        />
      </section>
      {!group && !soon && <Traffic text={text} machines={machines} />}
    </>
  );
}

function Head({ children }: { children?: preact.ComponentChildren }) {
  return (
    <div class="pagehead">
      <h1>Capacity</h1>
      {children}
    </div>
  );
}

const chartHref = (r: CapacityRow): string => {
  const { path, params } = chartOf(r);
  return href(path, params);
};

// Due is when it is full or expires, with the likely range.
function Due({ r, at }: { r: CapacityRow; at: number }) {
  const level = urgency(r, at);
  const range = rangeText(r, at);
  const title = r.due === undefined ? undefined : `${date(r.due, isUTC())}${range && `, ${range}`}`;
  if (r.due === undefined) return <span class="dim nowrap">{dueText(r, at)}</span>;
  return (
    <span class="nowrap" title={title}>
      {level ? (
        <Status level={level} icon="clock">
          {dueText(r, at)}
        </Status>
      ) : (
        <b>{dueText(r, at)}</b>
      )}
    </span>
  );
}

const columnsAt = (at: number): Column<CapacityRow>[] => [
  {
    id: 'due',
    title: 'Full or expired in',
    head: 'Due',
    width: '148px',
    sort: (r) => rank(r, at),
    cell: (r) => <Due r={r} at={at} />,
  },
  {
    id: 'range',
    title: 'Likely range',
    head: 'Likely',
    width: '118px',
    rank: 3,
    cell: (r) => <span class="dim">{rangeText(r, at) || '–'}</span>,
  },
  {
    id: 'date',
    title: 'Date',
    width: '104px',
    rank: 4,
    cell: (r) => (r.due === undefined ? <span class="dim">–</span> : date(r.due, isUTC())),
  },
  {
    id: 'machine',
    title: 'Machine',
    class: 'ellipsis',
    width: '150px',
    sort: (r) => r.machine ?? '',
    cell: (r) => (
      <span title={r.machine}>
        {r.machine || <span class="dim">{r.kind === 'storage' ? 'this server' : '–'}</span>}
      </span>
    ),
  },
  {
    id: 'name',
    title: 'What',
    class: 'ellipsis',
    min: 180,
    sort: (r) => titleOf(r),
    cell: (r) => (
      <span title={[r.device, r.fstype].filter(Boolean).join(' ')}>
        <b>
          <a href={chartHref(r)}>{titleOf(r)}</a>
        </b>{' '}
        {r.name && <span class="dim">{KINDS[r.kind].toLowerCase()}</span>}
      </span>
    ),
  },
  {
    id: 'used',
    title: 'Used',
    num: true,
    width: '120px',
    sort: (r) => (r.size ? (r.used ?? 0) / r.size : undefined),
    cell: (r) =>
      r.size ? <Meter value={(r.used ?? 0) / r.size} plain={r.kind === 'memory'} warn={0.9} crit={0.97} /> : '–',
  },
  {
    id: 'size',
    title: 'Size',
    num: true,
    width: '92px',
    rank: 2,
    sort: (r) => r.size,
    cell: (r) => amount(r, r.size),
  },
  ...(['1d', '7d', '30d'] as const).map((w, i) => ({
    id: w,
    title: `Typical growth per day over the last ${w.replace('d', i ? ' days' : ' day')}`,
    head: `Per day, ${w.replace('d', ' d')}`,
    num: true,
    width: '112px',
    rank: [5, 0, 1][i]!,
    sort: (r: CapacityRow) => r.growth?.[w],
    cell: (r: CapacityRow) => (expires(r) ? <span class="dim">–</span> : growthText(r, r.growth?.[w])),
  })),
];

function Card({ r, at }: { r: CapacityRow; at: number }) {
  const range = rangeText(r, at);
  return (
    <div class="linecard">
      <div class="row nowraprow">
        <b class="grow ellipsis">
          {r.machine ? `${r.machine} ` : ''}
          {titleOf(r)}
        </b>
        <Due r={r} at={at} />
      </div>
      <div class="row nowraprow dim">
        <span class="grow ellipsis">
          {[r.name && KINDS[r.kind], range && `likely ${range}`].filter(Boolean).join(' · ')}
        </span>
        {r.size !== undefined && (
          <span class="nowrap">
            {Math.round(((r.used ?? 0) / r.size) * 100)} % of {amount(r, r.size)}
          </span>
        )}
      </div>
      {expires(r) ? (
        <div class="dim">{r.due !== undefined && `expires ${date(r.due, isUTC())}`}</div>
      ) : (
        <div class="dim ellipsis">
          {r.growth?.['7d'] === undefined
            ? 'No growth known yet'
            : `Per day: ${growthText(r, r.growth['7d'])} over 7 d, ${growthText(r, r.growth['30d'])} over 30 d`}
        </div>
      )}
    </div>
  );
}
