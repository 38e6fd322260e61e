// What happened in the range of the page, as marks in all of its charts unless somebody hides
// them. A page asks once, and each chart shows what concerns its machines.
import { signal } from '@preact/signals';
import { createContext, type ComponentChildren } from 'preact';
import { useContext, useMemo, useState } from 'preact/hooks';
import type { Line, Mark } from '../lib/chart';
import { concerns, type Happened, inWords, machinesOf, MARKED, marksFor, marksOf } from '../lib/events';
import { ago } from '../lib/format';
import { frozen, range, serverNow, setAbsolute } from '../state/clock';
import { useEvents } from '../state/events';
import { href } from '../state/location';
import { recall, remember } from '../state/prefs';
import { Time } from './bits';
import { Icon } from './icons';
import { Status } from './Status';
import './marks.css';

const HappenedContext = createContext<Happened | null>(null);
const drawn = signal<boolean>(recall('marks', true));
const none: Mark[] = [];
const LISTED = 40;

interface Of {
  machine?: string; // the only one of the page
  machines?: ReadonlySet<string> | undefined; // those that the page is about
  wanted?: boolean; // there are charts to mark
  children: ComponentChildren;
}

// Marks gives marks to the charts in it, above which it says in words what they mean.
export function Marks({ machine, machines, wanted = true, children }: Of) {
  const got = useEvents({ machine, overlapping: true, kinds: machine ? undefined : MARKED }, wanted, machine ? 0 : 60);
  const d = got.data;
  const happened = useMemo(
    () => (d ? { events: d.events, from: d.from, to: d.to, machine, machines } : null),
    [d, machine, machines],
  );
  return (
    <HappenedContext.Provider value={drawn.value ? happened : null}>
      {wanted && happened && <Bar h={happened} leftOut={d!.leftOut} />}
      {children}
    </HappenedContext.Provider>
  );
}

// useMarks are the marks of a chart with these lines.
export function useMarks(lines: Line[] | undefined): Mark[] {
  const h = useContext(HappenedContext);
  return useMemo(() => (h && lines?.length ? marksFor(h, machinesOf(lines)) : none), [h, lines]);
}

function Bar({ h, leftOut }: { h: Happened; leftOut: number }) {
  const [open, setOpen] = useState(false);
  const marks = useMemo(
    () =>
      marksOf(
        h.events.filter((e) => concerns(e, h.machines)),
        h.from,
        h.to,
        !h.machine,
      ),
    [h],
  );
  if (!marks.length) return null;
  const shown = marks.slice(-LISTED).reverse();
  const more = marks.length - shown.length + leftOut;
  return (
    <div class="events">
      <div class="row">
        <button type="button" class="btn plain" aria-expanded={open} onClick={() => setOpen(!open)}>
          <Icon name={open ? 'down_' : 'right'} />
          In this range: {inWords(marks)}
        </button>
        <button
          type="button"
          class="btn plain"
          onClick={() => {
            drawn.value = !drawn.value;
            remember('marks', drawn.value);
          }}
        >
          {drawn.value ? 'Hide in charts' : 'Show in charts'}
        </button>
      </div>
      {open && (
        <ol tabIndex={0} aria-label="Changes in this range">
          {shown.map((m) => (
            <li key={`${m.time} ${m.who} ${m.text}`}>
              <Status
                level={m.level ?? 'info'}
                icon={m.end === undefined ? 'refresh' : m.level === 'off' ? 'info' : (m.level ?? 'info')}
              >
                {m.who && `${m.who}: `}
                {m.text}
              </Status>
              <span class="dim num nowrap">
                {m.end === undefined || m.time >= range.value.from ? <Time time={m.time} /> : 'before'}
                {m.end !== undefined &&
                  (m.end >= range.value.to - 60 && !frozen.value
                    ? ', still firing'
                    : `, for ${ago(m.end - Math.max(m.time, range.value.from))}`)}
              </span>
              <button
                type="button"
                class="btn plain"
                onClick={() =>
                  setAbsolute(m.time - 900, Math.min(serverNow(), Math.max(m.time + 900, (m.end ?? 0) + 300)))
                }
              >
                Zoom in
              </button>
            </li>
          ))}
          {more > 0 && (
            <li>
              <a href={href('/changes')}>and {more} more</a>
            </li>
          )}
        </ol>
      )}
    </div>
  );
}
