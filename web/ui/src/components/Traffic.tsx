// What machines receive and send in a month: a table of all, and the lines of one.
import { useMemo } from 'preact/hooks';
import { traffic } from '../api/traffic';
import type { TrafficAnswer, TrafficRow } from '../api/types/traffic';
import { bytes, dayText, quotaText, share, sum, urgency } from '../lib/traffic';
import { agent } from '../state/config';
import { useData } from '../state/data';
import { href } from '../state/location';
import { Empty, ErrorNote, Panel, stale } from './bits';
import { Meter } from './Meter';
import { Status } from './Status';
import { Table, type Column } from './Table';

const monthText = (a: TrafficAnswer): string => `${dayText(a.from)} – ${dayText(a.to)}`;

const since = (t: string | undefined) => t !== undefined && <span class="dim"> since {dayText(t)}</span>;

function Quota({ r }: { r: TrafficRow }) {
  const level = urgency(r);
  const text = quotaText(r);
  return level ? (
    <Status level={level} icon={level}>
      {text}
    </Status>
  ) : (
    <span class="dim">{text}</span>
  );
}

// Traffic is the section of the page Capacity.
export function Traffic({ text, machines }: { text: string; machines: ReadonlySet<string> | null }) {
  const got = useData(agent ? null : 'traffic', (s) => traffic(undefined, s), 60);
  const a = got.data;
  const rows = useMemo(
    () =>
      (a?.rows ?? []).filter(
        (r) =>
          (!machines || machines.has(r.machine)) &&
          text
            .toLowerCase()
            .split(/\s+/)
            .every((w) => `${r.machine} traffic`.toLowerCase().includes(w)),
      ),
    [a, text, machines],
  );
  if (!a && !got.error) return null;
  if (a && !a.counting && !rows.length) return null;
  return (
    <section class={`panel${got.error ? ' stale' : ''}`} aria-label="Traffic">
      <header>
        <h2>Traffic this month</h2>
        {a && <span class="dim">{monthText(a)}</span>}
      </header>
      <ErrorNote error={got.error} what={a ? stale(got.time) : 'Traffic could not be loaded'} />
      {a?.counting ? (
        <Empty icon="wait" title="Counting the stored traffic" why="This takes a few minutes after the first start." />
      ) : (
        <Table
          label="Traffic"
          fixed
          rows={rows}
          columns={columns(rows.some((r) => r.quota))}
          rowKey={(r) => r.machine}
          sortParam="traffic"
          defaultSort="-sum"
          href={(r) => networkHref(r.machine)}
          card={(r) => <Card r={r} />}
          cardHeight={66}
        />
      )}
    </section>
  );
}

const networkHref = (machine: string) => href(`/m/${encodeURIComponent(machine)}`, { tab: 'network', range: '30d' });

const columns = (quotas: boolean): Column<TrafficRow>[] => [
  {
    id: 'machine',
    title: 'Machine',
    class: 'ellipsis',
    min: 140,
    sort: (r) => r.machine,
    cell: (r) => (
      <b title={r.machine}>
        <a href={networkHref(r.machine)}>{r.machine}</a>
      </b>
    ),
  },
  {
    id: 'sum',
    title: 'This month',
    num: true,
    width: '112px',
    sort: sum,
    cell: (r) => bytes(sum(r)),
  },
  {
    id: 'since',
    title: 'Data since, if later than the start of the month',
    head: 'Since',
    width: '80px',
    rank: 3,
    cell: (r) => (r.since === undefined ? '' : <span class="dim">{dayText(r.since)}</span>),
  },
  {
    id: 'received',
    title: 'Received',
    num: true,
    width: '104px',
    rank: 2,
    sort: (r) => r.received,
    cell: (r) => bytes(r.received),
  },
  { id: 'sent', title: 'Sent', num: true, width: '104px', rank: 2, sort: (r) => r.sent, cell: (r) => bytes(r.sent) },
  {
    id: 'expected',
    title: 'Expected at the end of the month',
    head: 'Expected',
    num: true,
    width: '104px',
    sort: (r) => r.expected,
    cell: (r) => (r.expected === undefined ? '–' : bytes(r.expected)),
  },
  {
    id: 'last',
    title: 'Last month',
    num: true,
    width: '160px',
    rank: 1,
    sort: (r) => r.last && sum(r.last),
    cell: (r) =>
      r.last ? (
        <>
          {bytes(sum(r.last))}
          {since(r.last.since)}
        </>
      ) : (
        '–'
      ),
  },
  ...(quotas
    ? [
        {
          id: 'quota',
          title: 'Used part of the quota',
          head: 'Quota',
          num: true,
          width: '120px',
          sort: share,
          cell: (r: TrafficRow) => (r.quota ? <Meter value={share(r)} warn={0.9} crit={1} /> : '–'),
        },
        {
          id: 'state',
          title: 'State',
          width: '220px',
          sort: (r: TrafficRow) => ({ crit: 0, warn: 1, '': 2 })[urgency(r)],
          cell: (r: TrafficRow) => (r.quota ? <Quota r={r} /> : <span class="dim">no quota</span>),
        },
      ]
    : []),
];

function Card({ r }: { r: TrafficRow }) {
  return (
    <div class="linecard">
      <div class="row nowraprow">
        <b class="grow ellipsis">{r.machine}</b>
        <b class="nowrap">{bytes(sum(r))}</b>
      </div>
      <div class="row nowraprow dim">
        <span class="grow ellipsis">
          {[
            r.since !== undefined && `since ${dayText(r.since)}`,
            r.expected !== undefined && `${bytes(r.expected)} expected`,
            r.last && `${bytes(sum(r.last))} last month`,
          ]
            .filter(Boolean)
            .join(' · ')}
        </span>
        {urgency(r) && <Quota r={r} />}
      </div>
    </div>
  );
}

// MachineTraffic is the panel of a machine.
export function MachineTraffic({ machine }: { machine: string }) {
  const got = useData(agent ? null : `traffic ${machine}`, (s) => traffic(machine, s), 60);
  const a = got.data;
  const r = a?.rows[0];
  if (!a || !r) return null;
  return (
    <Panel
      title="Traffic this month"
      level={3}
      label="Traffic this month"
      tools={<span class="dim">{monthText(a)}</span>}
    >
      <dl class="facts body">
        <dt>So far</dt>
        <dd>
          <b>{bytes(sum(r))}</b>
          <span class="dim">
            {' '}
            {bytes(r.received)} received, {bytes(r.sent)} sent
          </span>
          {since(r.since)}
        </dd>
        <dt>Expected</dt>
        <dd>{r.expected === undefined ? <span class="dim">too little data</span> : bytes(r.expected)}</dd>
        {r.last && (
          <>
            <dt>Last month</dt>
            <dd>
              {bytes(sum(r.last))}
              {since(r.last.since)}
            </dd>
          </>
        )}
        {r.quota && (
          <>
            <dt>Quota</dt>
            <dd>
              {bytes(r.quota.used)} of {bytes(r.quota.bytes)} <Quota r={r} />
            </dd>
          </>
        )}
      </dl>
    </Panel>
  );
}
