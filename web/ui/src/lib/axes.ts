// The axes of a chart: what they span, where their lines are and how those are named.
import { format, scaleOf, trimmed, type Unit } from './format';
import { clock, date, fields, offset, zoneName } from './time';

const isBytes = (u: Unit | undefined) => u === 'bytes' || u === 'bytesps';
const tens = [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10];
// Memory and disks come in quarters of powers of two.
const twos = [1, ...Array.from({ length: 10 }, (_, i) => [1.25, 1.5, 1.75, 2].map((m) => m * 2 ** i)).flat()];

// roundUp gives the next number at which an axis looks well to end.
export function roundUp(v: number, unit?: Unit): number {
  if (!(v > 0)) return 0;
  const base = isBytes(unit) ? 1024 : 10;
  let size = base ** Math.floor(Math.log(v) / Math.log(base) + 1e-9);
  if (isBytes(unit) && size < 1) size = 1;
  const m = v / size;
  return (isBytes(unit) ? twos : tens).find((x) => x >= m - 1e-9)! * size;
}

// endOf is where an axis ends that has to hold v: a little above it. Of a round number
// of bytes, such as the size of a memory, hardly anything above, so that its line is
// not under the marks at the top.
function endOf(v: number, unit: Unit | undefined): number {
  if (!isBytes(unit)) return roundUp(v * 1.04, unit);
  const exact = roundUp(v, unit);
  return exact - v < v * 1e-6 ? exact * 1.03 : roundUp(v * 1.01, unit);
}

export type Bounds = [number, number];

// axisRange is what the axis of values spans: round numbers, and the old ones
// for as long as they fit, so that it does not jump with each new point.
export function axisRange(
  lo: number | null,
  hi: number | null,
  o: {
    min?: number | undefined;
    max?: number | undefined;
    unit?: Unit | undefined;
    stack?: boolean | undefined; // areas say by their height how much there is, so they stand on zero
    old?: Bounds | undefined;
  } = {},
): Bounds {
  const least = Math.min(lo ?? 0, o.min ?? Infinity);
  let most = Math.max(hi ?? 0, o.max ?? -Infinity);
  if (o.unit === 'ratio' && most > 0.7 && most < 1.06) most = 1; // shares come to a little over 1 where scrapes are not on time
  let next: Bounds;
  if (least > 0 && least > most * 0.6 && o.min === undefined && !o.stack) {
    // Far from zero: temperatures, clocks.
    const span = Math.max(most - least, most * 0.02);
    const grid = roundUp(span / 4, o.unit);
    next = [Math.max(0, Math.floor((least - span * 0.1) / grid) * grid), Math.ceil((most + span * 0.1) / grid) * grid];
  } else {
    const up = most > 0 ? (most === o.max || (o.unit === 'ratio' && most === 1) ? most : endOf(most, o.unit)) : 0;
    const down = least < 0 ? -endOf(-least, o.unit) : 0;
    next = up === 0 && down === 0 ? [0, 1] : [down, up];
  }
  const { old } = o;
  if (old && old[0] <= next[0] && old[1] >= next[1] && next[1] - next[0] >= (old[1] - old[0]) * 0.4) return old;
  return next;
}

const decimals = Array.from({ length: 27 }, (_, i) => [1, 2, 5].map((m) => Number(`${m}e${i - 10}`))).flat();
const durations = [
  ...decimals.filter((x) => x < 30),
  30,
  60,
  120,
  300,
  600,
  1200,
  1800,
  3600,
  7200,
  14400,
  21600,
  43200,
  86400,
  172800,
  432000,
  ...[1, 2, 5, 10, 20, 50, 100].map((d) => d * 864000),
];

// valueSteps are the distances that lines of the grid may have.
export function valueSteps(unit: Unit | undefined): number[] {
  if (isBytes(unit)) return Array.from({ length: 60 }, (_, i) => 2 ** i);
  if (unit === 'seconds') return durations;
  if (unit === 'count') return decimals.filter((x) => x >= 1);
  return decimals;
}

// valueLabel writes a number beside the axis, with as many digits as it takes
// to tell neighbours, which are a step apart, from each other.
export function valueLabel(v: number, step: number, unit: Unit | undefined): string {
  const x = Math.abs(v) < step / 1e6 ? 0 : v;
  if (unit === 'ratio') return `${(x * 100).toFixed(decimalsOf(step * 100))} %`;
  if (x === 0 || (unit === 'count' && Number.isInteger(x) && Math.abs(x) < 1e6)) return format(x, unit);
  const { size, suffix } = scaleOf(x, unit);
  const digits = decimalsOf(step / size);
  if (digits <= 7) return trimmed((x / size).toFixed(digits)) + suffix;
  return (x / size).toExponential(Math.max(0, Math.ceil(Math.log10(Math.abs(x) / step) - 1e-9))) + suffix;
}

// decimalsOf is how many decimal places write multiples of step exactly, or, where
// that takes more than two more, at least differently.
function decimalsOf(step: number): number {
  const least = Math.max(0, Math.ceil(-Math.log10(step) - 1e-9));
  for (let d = least; d <= least + 2; d++) if (Math.abs(step * 10 ** d - Math.round(step * 10 ** d)) < 1e-6) return d;
  return least + 1;
}

// apart writes numbers so that neighbours that differ look different.
export function apart(values: number[]): string[] {
  for (let digits = 2; ; digits++) {
    const out = values.map((v) =>
      digits === 2 || !Number.isFinite(v) ? format(v) : String(Number(v.toPrecision(digits))),
    );
    if (digits === 15 || out.every((t, i) => i === 0 || t !== out[i - 1] || values[i] === values[i - 1])) return out;
  }
}

// Time. A month is written as 30 days among the steps.
const DAY = 86400;
const MONTH = 30 * DAY;
export const timeSteps = [
  1,
  2,
  5,
  10,
  15,
  30,
  60,
  120,
  300,
  600,
  900,
  1800,
  3600,
  7200,
  10800,
  14400,
  21600,
  43200,
  DAY,
  2 * DAY,
  4 * DAY,
  7 * DAY,
  14 * DAY,
  MONTH,
  2 * MONTH,
  3 * MONTH,
  6 * MONTH,
  12 * MONTH,
  60 * MONTH,
];

// timeSplits are the lines of the time axis. They stand at round times of the
// wall clock, also where a day has 23 or 25 hours.
export function timeSplits(min: number, max: number, step: number, utc: boolean): number[] {
  const at = (y: number, mo: number, d: number, s = 0) =>
    (utc ? Date.UTC(y, mo - 1, d, 0, 0, s) : new Date(y, mo - 1, d, 0, 0, s).getTime()) / 1000;
  const out: number[] = [];
  const add = (t: number) => {
    if (t >= min && t <= max && t !== out.at(-1)) out.push(t);
  };
  const f = fields(min, utc);
  if (step >= MONTH) {
    const months = Math.round(step / MONTH);
    for (let m = Math.floor((f.y * 12 + f.mo - 1) / months) * months; ; m += months) {
      const t = at(Math.floor(m / 12), (m % 12) + 1, 1);
      if (t > max) break;
      add(t);
    }
    return out;
  }
  const days = Math.max(1, step / DAY);
  // Days are counted from a fixed one, so that lines stay where they are.
  const first = Math.floor(Date.UTC(f.y, f.mo - 1, f.d) / 1000 / DAY);
  for (let k = Math.floor(first / days) * days; ; k += days) {
    const d = new Date(k * DAY * 1000);
    const [y, mo, day] = [d.getUTCFullYear(), d.getUTCMonth() + 1, d.getUTCDate()];
    if (at(y, mo, day) > max) break;
    if (step >= DAY) {
      add(at(y, mo, day));
      continue;
    }
    if (at(y, mo, day + 1) < min) continue;
    if (step < 3600) {
      // Hours are whole in every zone's change but Lord Howe's half one; go by the clock's offset at each hour.
      for (let h = 0; h < 24; h++) {
        const from = at(y, mo, day, h * 3600);
        const to = at(y, mo, day, (h + 1) * 3600);
        if (to < min || from > max) continue;
        for (let t = from; t < to; t += step) add(t);
      }
      continue;
    }
    for (let s = 0; s < DAY; s += step) add(at(y, mo, day, s));
  }
  return out;
}

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

// timeLabels names them: the hour, and the day where another one begins. Where the
// clock is put forward or back among them, the zone is named, or hours would
// seem to come twice.
export function timeLabels(splits: number[], step: number, utc: boolean): string[] {
  let before = '';
  const moves = !utc && step < DAY && splits.some((t) => offset(t) !== offset(splits[0]!));
  return splits.map((t, i) => {
    const zone = moves && (i === 0 || offset(t) !== offset(splits[i - 1]!)) ? ` ${zoneName(t)}` : '';
    const f = fields(t, utc);
    const day = `${months[f.mo - 1]} ${f.d}`;
    const d = date(t, utc);
    const anotherDay = d !== before && (i > 0 || f.h * 3600 + f.m * 60 + f.s === 0);
    before = d;
    if (step >= 12 * MONTH) return String(f.y);
    if (step >= MONTH) return f.mo === 1 ? String(f.y) : months[f.mo - 1]!;
    if (step >= DAY) return day;
    const time = clock(t, utc, step < 60);
    return (anotherDay ? (f.h || f.m ? `${day} ${time}` : day) : time) + zone;
  });
}
