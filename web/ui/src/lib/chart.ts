// The lines of a chart: what they are asked for with, what is made of the answer.
import type { Labels } from '../api/types/query';

export interface Line {
  name: string;
  labels: Labels;
  query: number; // index of the query that gave it
  values: (number | null)[];
  negate: boolean;
  colour: string; // a colour or var(--name)
  line?: boolean; // a line also where the others are stacked
  own?: boolean; // its query gives the colour: no other means it, without dashes too
  past?: boolean; // of the same time on an earlier day
}

// PASTS are what a range can be compared with: seconds back, by the name in the URL.
export const PASTS: Record<string, { seconds: number; name: string; title: string }> = {
  '1d': { seconds: 86400, name: 'yesterday', title: 'Same time yesterday' },
  '7d': { seconds: 7 * 86400, name: 'last week', title: 'Same time last week' },
};

// pastLines are the lines of an earlier day, to be drawn over those of now. Of stacked
// areas there is one line on each side of zero: the top.
export function pastLines(then: Line[], now: Line[], stack: boolean | undefined, when: string): Line[] {
  const as = (l: Line, name: string, values: Line['values'], colour: string): Line => ({
    ...l,
    name: `${name}${name ? ', ' : ''}${when}`,
    values,
    colour,
    line: true,
    past: true,
  });
  if (!stack) {
    const colours = new Map(now.map((l) => [l.name, l.colour]));
    return then.map((l, i) => as(l, l.name, l.values, colours.get(l.name) || l.colour || colour(i)));
  }
  const sums = stackFrame(then);
  return [false, true].flatMap((negate) => {
    const top = then.findLastIndex((l) => !l.line && l.negate === negate);
    return top < 0 ? [] : [as(then[top]!, negate ? 'below zero' : '', sums[top]!, 'var(--ink-2)')];
  });
}

// Mark is something that happened: a reboot, or an alert that fired until end.
export interface Mark {
  time: number;
  end?: number;
  text: string;
  who?: string; // the machine, in a chart of several
  level?: 'crit' | 'warn' | 'info' | 'off';
}

// Dot is a single measurement drawn over the lines: an exemplar.
export interface Dot {
  time: number;
  value: number;
  text: string[];
}

// Loaded is what there is to draw, all lines at the same times.
export interface Loaded {
  times: number[];
  lines: Line[];
  hiddenSeries: number;
  filling?: boolean; // what is left out fills the window of its rate only in part
  time: number; // when it arrived, Unix seconds; 0 where nobody asks
  from: number; // the range that is shown
  to: number;
  step: number;
  begun: number; // performance.now() when drawing could begin
}

export const colour = (i: number) => `var(--series-${(i % 8) + 1})`;

// mix lightens a colour of six hexadecimal digits towards another; areas of a
// second round of colours are told apart by it, which have no dashes.
export function mix(c: string, towards: string, part: number): string {
  const n = (x: string, i: number) => parseInt(x.slice(1 + 2 * i, 3 + 2 * i), 16);
  return `#${[0, 1, 2]
    .map((i) =>
      Math.round(n(c, i) * (1 - part) + n(towards, i) * part)
        .toString(16)
        .padStart(2, '0'),
    )
    .join('')}`;
}

// dash tells series apart once the colours are used up.
export const dash = (i: number): number[] | undefined =>
  [undefined, [6, 3], [2, 2], [8, 3, 2, 3]][Math.floor(i / 8) % 4];

// A stacked area has no dashes; what repeats a colour is paler.
export const pale = (l: Line, k: number, stack: boolean | undefined): boolean => !!stack && !l.line && k >= 8;

// exprFor fills in $step and $rate, the window of a rate: at least four scrapes
// and at least a step, so that no sample is left out.
export function exprFor(expr: string, step: number, scrape = 15): string {
  return expr.replaceAll('$rate', `${rateWindow(step, scrape)}s`).replaceAll('$step', `${step}s`);
}

const rateWindow = (step: number, scrape: number) => Math.max(4 * scrape, step);

// lookbackFor is how many seconds a gauge counts after its last sample. A rate ends
// when its window holds one sample only; a gauge ends with it, or a chart of both
// would show a machine that is half gone. What rules write comes once a minute.
export function lookbackFor(expr: string, step: number, scrape = 15): number {
  const rules = /\w:\w|\bALERTS\b/.test(expr.replace(/"(?:[^"\\]|\\.)*"/g, '').replace(/\[[^\]]*\]/g, ''));
  return Math.max(rateWindow(step, scrape) - scrape, rules ? 150 : 0);
}

// The label by which the series of a combined query find back to their query.
export const QUERY = '_q';

// combined asks several queries in one request.
export function combined(exprs: string[]): string {
  return exprs.length === 1
    ? exprs[0]!
    : exprs.map((e, i) => `label_replace(${e}, "${QUERY}", "${i}", "", "")`).join(' or ');
}

// split takes the label of combined off again.
export function split(metric: Labels): { query: number; labels: Labels } {
  if (!(QUERY in metric)) return { query: 0, labels: metric };
  const { [QUERY]: q, ...labels } = metric;
  return { query: Number(q), labels };
}

// stackFrame adds lines up, the first one lowest, above and below zero apart. A
// gap counts as nothing where another line has a value, and stays a gap where
// none has.
export function stackFrame(
  lines: { values: (number | null)[]; line?: boolean; negate?: boolean }[],
): (number | null)[][] {
  const sums: [(number | null)[], (number | null)[]] = [[], []];
  return lines.map((l) => {
    if (l.line) return l.values;
    const sum = sums[l.negate ? 1 : 0];
    return l.values.map((v, i) => {
      if (v !== null) sum[i] = (sum[i] ?? 0) + v;
      return sum[i] ?? null;
    });
  });
}

// continued makes one line of those of a name that follow each other: the series of
// a machine that was replaced have other labels, and mean the same. Where both have a
// value, as they do for up to overlap points, the newer one's counts. Lines of one
// name that do not follow each other are told apart by the labels that differ.
export function continued(lines: Line[], overlap: number): Line[] {
  const byName = new Map<string, Line[]>();
  for (const l of lines) {
    const key = `${l.query} ${l.name}`;
    byName.set(key, [...(byName.get(key) ?? []), l]);
  }
  const last = (l: Line) => l.values.findLastIndex((v) => v !== null);
  return [...byName.values()].flatMap((same) => {
    if (same.length === 1) return same;
    const joined: Line[] = [];
    for (const l of same.sort((a, b) => last(a) - last(b))) {
      const before = joined.find(
        (j) => j.values.filter((v, i) => v !== null && l.values[i] !== null).length <= overlap,
      );
      if (!before) joined.push(l);
      else joined[joined.indexOf(before)] = { ...l, values: l.values.map((v, i) => v ?? before.values[i] ?? null) };
    }
    if (joined.length === 1) return joined;
    const differing = Object.keys(Object.assign({}, ...joined.map((l) => l.labels)) as Labels).filter((k) =>
      joined.some((l) => l.labels[k] !== joined[0]!.labels[k]),
    );
    // One label is enough where no two have the same; the job says most.
    const one = ['job', 'instance', ...differing].find(
      (k) => differing.includes(k) && new Set(joined.map((l) => l.labels[k])).size === joined.length,
    );
    return joined.map((l) => {
      const told = (one ? [one] : differing).flatMap((k) => (l.labels[k] ? [l.labels[k]] : []));
      return told.length ? { ...l, name: `${l.name} (${told.join(', ')})` } : l;
    });
  });
}

// ramps says that a query of rates reads too little where samples fill its window
// only in part. A quotient of rates does not; a gap in what is compared says nothing.
export const ramps = (expr: string) => /\brate\(.*\[\$rate\]/.test(expr) && !/ [/>] /.test(expr);

// LONG steps are of charts in which a machine may have one point only: rather too
// low than none.
const LONG = 300;

// settled leaves out the points of a rate whose window is not full: after the first
// sample, and before and after a gap. Otherwise each start looks like a load that grows.
export function settled(values: (number | null)[], step: number, scrape = 15): (number | null)[] {
  const n = Math.ceil((rateWindow(step, scrape) - 2 * scrape) / step);
  const out = [...values];
  for (let from = 0; from < values.length; from++) {
    if (values[from] === null) continue;
    let to = from;
    while (to < values.length && values[to] !== null) to++;
    const first = from > 0 ? from + n : 0;
    const end = to < values.length ? to - n : to;
    if (first < end || step < LONG) {
      out.fill(null, from, Math.min(first, to));
      out.fill(null, Math.max(end, from), to);
    }
    from = to;
  }
  return out;
}

// lastIndex is the last of n points at which a line has a value.
export function lastIndex(lines: Line[], n: number): number | null {
  for (let i = n - 1; i >= 0; i--) if (lines.some((l) => l.values[i] != null)) return i;
  return null;
}

export interface Stats {
  min: number;
  mean: number;
  max: number;
  last: number;
}

// statsOf are a line's figures as a legend says them; undefined where it has no values.
export function statsOf(l: Line): Stats | undefined {
  const values = l.values.filter((v) => v !== null).map((v) => (l.negate ? -v : v));
  if (!values.length) return undefined;
  let [min, max, sum] = [Infinity, -Infinity, 0];
  for (const v of values) {
    min = Math.min(min, v);
    max = Math.max(max, v);
    sum += v;
  }
  return { min, mean: sum / values.length, max, last: values.at(-1)! };
}

// firstTime is when the first of the lines begins.
export function firstTime(times: number[], lines: Line[]): number | undefined {
  const i = times.findIndex((_, k) => lines.some((l) => l.values[k] != null));
  return times[i];
}

const EMPTY = 0.5; // part of a range without data from which on it is left out
const LEAST = 300; // seconds that are shown

// beginsAt is where charts begin whose data begins at first: undefined for all of the range.
export function beginsAt(from: number, to: number, first: number): number | undefined {
  if (first - from < EMPTY * (to - from)) return undefined;
  return Math.max(from, Math.min(first, to - LEAST));
}

// alone are the points without a neighbour, which no line would show.
export function alone(values: ArrayLike<number | null | undefined>): number[] {
  const out: number[] = [];
  for (let i = 0; i < values.length; i++) {
    if (values[i] != null && values[i - 1] == null && values[i + 1] == null) out.push(i);
  }
  return out;
}

// seriesName writes labels as PromQL does, without those in which all are alike.
export function seriesName(metric: Labels, common: Labels = {}): string {
  const { __name__: name = '', ...rest } = metric;
  const parts = Object.entries(rest)
    .filter(([k, v]) => common[k] !== v)
    .map(([k, v]) => `${k}=${JSON.stringify(v)}`);
  return parts.length ? `${name}{${parts.join(', ')}}` : name || '{}';
}
