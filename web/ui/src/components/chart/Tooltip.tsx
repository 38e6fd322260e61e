// What is at the pointer: the time, the values there, marks, an exemplar.
import type uPlot from 'uplot';
import type { Dot, Line, Loaded, Mark } from '../../lib/chart';
import { format, type Unit } from '../../lib/format';
import { clock } from '../../lib/time';
import { isUTC } from '../../state/prefs';
import { markColour } from './draw';

interface Entry {
  text: string;
  colour: string;
  value?: string;
  meant?: boolean; // the line nearest to the pointer
}

export interface Tip {
  left: number;
  top: number;
  right: boolean; // it stands to the left of the pointer
  above: boolean;
  head: string;
  list: Entry[];
  more: number; // lines that are not listed
}

const MOST = 8;

export function Tooltip({ tip }: { tip: Tip }) {
  return (
    <div
      class="tip"
      style={{
        ...(tip.right ? { right: `calc(100% - ${tip.left - 14}px)` } : { left: `${tip.left + 14}px` }),
        ...(tip.above ? { bottom: `calc(100% - ${tip.top - 8}px)` } : { top: `${tip.top + 14}px` }),
      }}
      aria-hidden="true"
    >
      <div class="head">{tip.head}</div>
      {tip.list.map((t) => (
        <div key={t.text} class={t.meant ? 'meant' : ''}>
          <span class="swatch" style={{ color: t.colour }} />
          <span class="name">{t.text}</span>
          {t.value && <b>{t.value}</b>}
        </div>
      ))}
      {tip.more > 0 && <div class="dim">and {tip.more} more</div>}
    </div>
  );
}

interface At {
  data: Loaded;
  marks?: Mark[];
  dots?: Dot[];
  unit?: Unit;
}

export function tipAt(
  u: uPlot,
  { data, marks, dots, unit }: At,
  shown: Line[],
  meant: string | null,
  head: string,
): Tip | null {
  const { left = -1, top = -1, idx } = u.cursor;
  if (left < 0 || idx == null) return null;
  const list: Entry[] = [];
  const dot = dotAt(u, dots, left, top);
  if (dot) list.push(...dot.text.map((text, i) => ({ text, colour: i ? 'transparent' : 'var(--ink)' })));
  for (const m of marks ?? []) {
    const a = u.valToPos(m.time, 'x');
    const inBand = m.end !== undefined && top < 12 && left >= a && left <= u.valToPos(m.end, 'x');
    if (Math.abs(a - left) <= 5 || inBand)
      list.push({
        text: `${clock(m.time, isUTC(), false)} ${m.who ? `${m.who}: ` : ''}${m.text}`,
        colour: markColour(m),
      });
  }
  list.splice(MOST);
  const values = shown.map((l) => ({ l, v: l.values[idx] })).filter((x): x is { l: Line; v: number } => x.v != null);
  for (const { l, v } of foremost(values, MOST, (x) => (x.l.name === meant ? Infinity : Math.abs(x.v))))
    list.push({
      text: l.name,
      colour: l.colour,
      value: format(l.negate ? -v : v, unit),
      ...(l.name === meant && shown.length > 1 && { meant: true }),
    });
  if (!list.length || data.times[idx] === undefined) return null;
  return {
    left: left + u.bbox.left / devicePixelRatio + 6,
    top: top + u.bbox.top / devicePixelRatio,
    right: left > u.over.clientWidth / 2,
    above: top > u.over.clientHeight / 2,
    head,
    list,
    more: Math.max(0, values.length - MOST),
  };
}

// foremost are the n of the highest rank, in order: of thousands of lines at each move of
// the pointer, sorting all would be felt.
function foremost<T>(all: T[], n: number, rank: (x: T) => number): T[] {
  const out: T[] = [];
  for (const x of all) {
    if (out.length === n && rank(x) <= rank(out[n - 1]!)) continue;
    const at = out.findIndex((o) => rank(o) < rank(x));
    out.splice(at < 0 ? out.length : at, 0, x);
    out.length = Math.min(out.length, n);
  }
  return out;
}

// dotAt is the one nearest to the cursor, if a finger could mean it.
function dotAt(u: uPlot, dots: Dot[] | undefined, left: number, top: number): Dot | undefined {
  let best: Dot | undefined;
  let least = 14;
  for (const d of dots ?? []) {
    const far = Math.hypot(u.valToPos(d.time, 'x') - left, u.valToPos(d.value, 'y') - top);
    if (far < least) {
      best = d;
      least = far;
    }
  }
  return best;
}
