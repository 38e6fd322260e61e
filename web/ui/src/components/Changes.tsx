// What happened in the selected range, of all machines or of one, the newest first.
import { useMemo, useState } from 'preact/hooks';
import type { FleetEvent } from '../api/types/events';
import { around, EVENT, EVENT_KINDS, eventFits, keyOf, lasts, level, MOST, whom } from '../lib/events';
import { hasTag } from '../lib/fleet';
import { ago } from '../lib/format';
import { clock, date } from '../lib/time';
import { frozen, range, serverNow, setRelative } from '../state/clock';
import { useEvents } from '../state/events';
import { useFleet } from '../state/fleet';
import { href, machinePath, param, setParams, tagFilter } from '../state/location';
import { isUTC } from '../state/prefs';
import { AddNote } from './AddNote';
import { Ago, Empty, ErrorNote, LastAnswer, Loading, Overlay, stale, Time } from './bits';
import { Icon } from './icons';
import { NoMatch } from './NoMatch';
import { States } from './States';
import { Table, type Column } from './Table';
import { ChangeButton } from './Who';

export function Changes({ machine, head }: { machine?: string; head?: preact.ComponentChildren }) {
  const got = useEvents({ machine });
  const [adding, setAdding] = useState(false);
  const [opened, setOpened] = useState<FleetEvent>();
  const { rows: fleet } = useFleet(!machine);
  const text = param('q');
  const kinds = param('kind').split(',').filter(Boolean);
  const tag = machine ? '' : tagFilter.value;
  const machines = useMemo(
    () => (tag ? new Set((fleet ?? []).filter((m) => hasTag(m, tag)).map((m) => m.name)) : null),
    [fleet, tag],
  );
  const all = got.data?.events ?? [];
  const here = all.filter((e) => eventFits(e, { text, kinds: [], machines }));
  const rows = here.filter((e) => !kinds.length || kinds.includes(e.kind));
  const columns = useMemo(() => columnsOf(!machine), [machine]);
  if (!got.data && !got.error)
    return (
      <>
        <div class="pagehead">{head}</div>
        <Loading lines={5} />
      </>
    );
  const toggle = (kind: string) => {
    const next = kinds.includes(kind) ? kinds.filter((k) => k !== kind) : [...kinds, kind];
    setParams({ kind: next.join(',') || null }, false);
  };
  const longer = frozen.value ? [] : ['24h', '7d'].filter((r) => r !== range.value.relative);
  return (
    <>
      <div class="pagehead">
        {head}
        {all.length > 0 && (
          <input
            class="field"
            type="search"
            aria-label="Filter changes"
            placeholder={machine ? 'Filter: text' : 'Filter: text, machine'}
            value={text}
            onInput={(e) => setParams({ q: e.currentTarget.value })}
          />
        )}
        <ChangeButton type="button" class="btn" onClick={() => setAdding(true)}>
          <Icon name="plus" />
          Add note
        </ChangeButton>
        {got.data && <LastAnswer time={got.time} />}
      </div>
      {opened && <Sheet e={opened} onClose={() => setOpened(undefined)} />}
      {adding && <AddNote {...(machine && { machine })} onClose={() => setAdding(false)} />}
      <ErrorNote error={got.error} what={got.data ? stale(got.time) : 'The changes could not be loaded'} />
      {all.length > 0 && (
        <States
          label="Kinds of changes"
          all={EVENT_KINDS.map((k) => ({
            id: k,
            n: here.filter((e) => e.kind === k).length,
            level: 'off',
            icon: EVENT[k].icon,
            word: EVENT[k].word.toLowerCase(),
          }))}
          chosen={(k) => kinds.includes(k)}
          onChoose={toggle}
        />
      )}
      {range.value.to - range.value.from > MOST && (
        <p class="note">Changes of the last {MOST / 86400} days of this range are shown.</p>
      )}
      {!!got.data?.leftOut && (
        <p class="note">
          The newest {all.length} changes are shown, {got.data.leftOut} older ones are left out. Select a shorter range.
        </p>
      )}
      <section class={`panel${got.error ? ' stale' : ''}`}>
        <Table
          label="Changes"
          pagewide
          fixed
          rows={rows}
          columns={columns}
          rowKey={keyOf}
          ordered
          group={dayOf}
          onOpen={setOpened}
          card={(e) => <Card e={e} named={!machine} />}
          cardHeight={68}
          empty={
            all.length ? (
              <NoMatch what="changes" params={['q', 'kind', 'tag']} of={all.length} />
            ) : (
              <Empty
                icon="ok"
                title="No changes in this range"
                why="Reboots, new systems and exporters, alerts, failed units and checks, filesystems, silences and notes are listed here."
              >
                <span class="row">
                  {longer.map((r) => (
                    <button type="button" class="btn" key={r} onClick={() => setRelative(r)}>
                      Show {r}
                    </button>
                  ))}
                </span>
              </Empty>
            )
          }
        />
      </section>
    </>
  );
}

const dayOf = (e: FleetEvent) => date(e.time, isUTC());

// more is what is said beside the text: the author of a note, and what else it says.
const more = (e: FleetEvent) => [e.by, e.detail].filter(Boolean).join(': ');

const What = ({ e }: { e: FleetEvent }) => (
  <span class={`status quiet ${level(e)}`}>
    <Icon name={EVENT[e.kind].icon} />
    <span>{lasts(e) ? <b>{e.text}</b> : e.text}</span>
  </span>
);

function Lasted({ e }: { e: FleetEvent }) {
  if (e.end !== null) return <>{ago(e.end - e.time)}</>;
  if (!lasts(e)) return null;
  return frozen.value ? <span class="dim">until the end</span> : <Ago time={e.time} suffix=", still on" />;
}

// Machines leads to the charts around the event.
function Machines({ e }: { e: FleetEvent }) {
  if (e.machine) return <a href={href(machinePath(e.machine), { ...around(e, serverNow()) })}>{e.machine}</a>;
  return (
    <span class="dim" title={e.machines?.join(', ')}>
      {whom(e) || '–'}
    </span>
  );
}

const columnsOf = (named: boolean): Column<FleetEvent>[] => [
  {
    id: 'time',
    title: 'Time',
    width: '90px',
    cell: (e) => (
      <time class="num" dateTime={new Date(e.time * 1000).toISOString()}>
        {clock(e.time, isUTC())}
      </time>
    ),
  },
  { id: 'kind', title: 'Kind', width: '100px', rank: 1, cell: (e) => EVENT[e.kind].word },
  ...(named
    ? [
        {
          id: 'machine',
          title: 'Machine',
          class: 'ellipsis',
          width: '220px',
          cell: (e: FleetEvent) => <Machines e={e} />,
        },
      ]
    : []),
  {
    id: 'what',
    title: 'What',
    class: 'ellipsis',
    min: 260,
    cell: (e) => (
      <span title={[e.text, e.detail, e.by].filter(Boolean).join('\n')}>
        <What e={e} /> <span class="dim">{more(e)}</span>
      </span>
    ),
  },
  { id: 'lasted', title: 'Lasted', num: true, width: '150px', cell: (e) => <Lasted e={e} /> },
];

function Card({ e, named }: { e: FleetEvent; named: boolean }) {
  return (
    <div class="linecard">
      <div class="row nowraprow">
        <span class="grow ellipsis">
          <What e={e} />
        </span>
        <span class="dim num nowrap">{clock(e.time, isUTC(), false)}</span>
      </div>
      <div class="row nowraprow">
        <span class="grow ellipsis intext">
          {named && whom(e) ? <Machines e={e} /> : <span class="dim">{EVENT[e.kind].word}</span>}{' '}
          <span class="dim">{more(e)}</span>
        </span>
        <span class="dim nowrap">
          <Lasted e={e} />
        </span>
      </div>
    </div>
  );
}

// Sheet has what a row has no room for: all of a text, all machines of a group.
function Sheet({ e, onClose }: { e: FleetEvent; onClose: () => void }) {
  const names = e.machines ?? (e.machine ? [e.machine] : []);
  const left = e.count - names.length;
  return (
    <Overlay kind="sheet" title={EVENT[e.kind].word} onClose={onClose}>
      <div class="stack">
        <p class="wrap">
          <b>{e.text}</b>
        </p>
        {e.detail && (
          <p class="wrap" style={{ whiteSpace: 'pre-wrap' }}>
            {e.detail}
          </p>
        )}
        <dl class="facts">
          <dt>Time</dt>
          <dd>
            <Time time={e.time} withSeconds /> <span class="dim">({ago(serverNow() - e.time)} ago)</span>
          </dd>
          {e.end !== null && (
            <>
              <dt>Until</dt>
              <dd>
                <Time time={e.end} withSeconds /> <span class="dim">({ago(e.end - e.time)})</span>
              </dd>
            </>
          )}
          {e.by && (
            <>
              <dt>Author</dt>
              <dd>{e.by}</dd>
            </>
          )}
          {names.length > 0 && (
            <>
              <dt>{e.count > 1 ? `${e.count} machines` : 'Machine'}</dt>
              <dd>
                <span class="row">
                  {names.map((m) => (
                    <a key={m} href={href(machinePath(m), { ...around(e, serverNow()) })}>
                      {m}
                    </a>
                  ))}
                  {left > 0 && <span class="dim">and {left} more</span>}
                </span>
              </dd>
            </>
          )}
        </dl>
      </div>
    </Overlay>
  );
}
