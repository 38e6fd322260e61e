// Uptime: the share of time in which each machine was up, by calendar month.
import { useMemo } from 'preact/hooks';
import { uptime as fetchUptime } from '../api/uptime';
import type { UptimeMachine, UptimeMonth } from '../api/types/uptime';
import { Empty, ErrorNote, LastAnswer, Loading, stale, Time } from '../components/bits';
import { Table, type Column } from '../components/Table';
import { UptimeShareText } from '../components/Uptime';
import { hasTag } from '../lib/fleet';
import { monthName, shareText, together } from '../lib/uptime';
import { useData } from '../state/data';
import { useFleet } from '../state/fleet';
import { href, machinePath, param, setParams, tagFilter } from '../state/location';
import { phone } from '../state/media';

const SHOWN = 12; // months

export default function UptimePage() {
  const got = useData('uptime', (s) => fetchUptime('', s), 60);
  const { rows: fleet } = useFleet();
  const text = param('q').toLowerCase();
  const tag = tagFilter.value;
  const months = useMemo(() => (got.data?.months ?? []).slice(-SHOWN).reverse(), [got.data]);
  const tagged = useMemo(
    () => (tag ? new Set((fleet ?? []).filter((m) => hasTag(m, tag)).map((m) => m.name)) : null),
    [fleet, tag],
  );
  const all = got.data?.machines ?? [];
  const rows = useMemo(
    () => all.filter((m) => m.machine.toLowerCase().includes(text) && (!tagged || tagged.has(m.machine))),
    [all, text, tagged],
  );
  const columns = useMemo(() => columnsOf(months), [months]);
  if (!got.data)
    return (
      <>
        <Head />
        {got.error ? <ErrorNote error={got.error} what="Uptime could not be loaded" /> : <Loading lines={5} />}
      </>
    );
  return (
    <>
      <Head>
        {all.length > 0 && (
          <input
            class="field"
            type="search"
            aria-label="Filter machines"
            placeholder="Filter: machine"
            value={param('q')}
            onInput={(e) => setParams({ q: e.currentTarget.value })}
          />
        )}
        <LastAnswer time={got.time} />
      </Head>
      <ErrorNote error={got.error} what={stale(got.time)} />
      {got.data.counted !== undefined && (
        <p class="note" role="status">
          Reading stored data: complete up to <Time time={got.data.counted} />.
        </p>
      )}
      <p class="dim">
        Share of the recorded time in which this server could scrape the machine. Silenced maintenance does not count;
        intermittent machines have no percentage. Months are in UTC.
      </p>
      {rows.length > 1 && (
        <dl class="factline" aria-label="All machines">
          {months.slice(0, phone.value ? 3 : 6).map((m) => (
            <div key={m.name}>
              <dt>{monthName(m.name)}, all machines</dt>
              <dd>{shareText(together(rows, m.name).ratio)}</dd>
            </div>
          ))}
        </dl>
      )}
      <section class={`panel${got.error ? ' stale' : ''}`}>
        <Table
          label="Uptime"
          pagewide
          fixed
          rows={rows}
          columns={columns}
          rowKey={(m) => m.machine}
          defaultSort="machine"
          href={(m) => href(machinePath(m.machine), { tab: 'changes' })}
          card={(m) => <Card m={m} months={months} />}
          {...(months.length < 2 && { cardHeight: 72 })}
          empty={
            all.length ? (
              <Empty icon="filter" title="No machines match the filter">
                <button type="button" class="btn" onClick={() => setParams({ q: null, tag: null })}>
                  Show all {all.length}
                </button>
              </Empty>
            ) : (
              <Empty title="No data yet" why="Machines appear here a minute after their first scrape." />
            )
          }
        />
      </section>
    </>
  );
}

function Head({ children }: { children?: preact.ComponentChildren }) {
  return (
    <div class="pagehead">
      <h1>Uptime</h1>
      {children}
    </div>
  );
}

const columnsOf = (months: UptimeMonth[]): Column<UptimeMachine>[] => [
  {
    id: 'machine',
    title: 'Machine',
    class: 'ellipsis',
    min: 140,
    sort: (m) => m.machine,
    cell: (m) => (
      <b>
        <a href={href(machinePath(m.machine), { tab: 'changes' })} title={m.machine}>
          {m.machine}
        </a>
      </b>
    ),
  },
  ...months.map((month, i) => ({
    id: month.name,
    title: monthName(month.name),
    num: true,
    width: '104px',
    rank: i,
    sort: (m: UptimeMachine) => m.months[month.name]?.ratio ?? 2,
    cell: (m: UptimeMachine) => <UptimeShareText s={m.months[month.name]} month={month} />,
  })),
];

function Card({ m, months }: { m: UptimeMachine; months: UptimeMonth[] }) {
  return (
    <div class="linecard">
      <b class="ellipsis">{m.machine}</b>
      {months.slice(0, 2).map((month) => (
        <div class="row nowraprow dim" key={month.name}>
          <span class="grow">{monthName(month.name)}</span>
          <UptimeShareText s={m.months[month.name]} month={month} />
        </div>
      ))}
    </div>
  );
}
