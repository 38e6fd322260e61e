// Time ranges and times of day. A range is relative ("6h", ending now) or
// absolute (from and to in Unix seconds); it lives in the URL.

export interface Range {
  from: number; // Unix seconds
  to: number;
  relative?: string; // "6h" when the end follows the clock
}

export const RANGES = ['15m', '1h', '6h', '24h', '7d', '30d', '90d', '1y'];
export const DEFAULT_RANGE = '1h';

const unitSeconds: Record<string, number> = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86400, w: 604800, y: 31536000 };

// parseDuration reads Prometheus' durations, "1h30m" among them; undefined if
// the text is none.
export function parseDuration(text: string): number | undefined {
  const parts = [...text.trim().matchAll(/(\d+(?:\.\d+)?)(ms|[smhdwy])/g)];
  if (!parts.length || parts.map((p) => p[0]).join('') !== text.trim()) return undefined;
  return parts.reduce((sum, p) => sum + Number(p[1]) * unitSeconds[p[2]!]!, 0);
}

// durationText writes seconds as Prometheus does: 5400 is "1h30m".
export function durationText(s: number): string {
  let rest = Math.round(s);
  if (rest <= 0) return '0s';
  let out = '';
  for (const u of ['d', 'h', 'm', 's']) {
    const n = Math.floor(rest / unitSeconds[u]!);
    if (n) out += n + u;
    rest -= n * unitSeconds[u]!;
  }
  return out;
}

export function readRange(params: URLSearchParams, now: number): Range {
  const from = Number(params.get('from'));
  const to = Number(params.get('to'));
  if (from > 0 && to > from) return { from, to };
  const text = params.get('range') ?? DEFAULT_RANGE;
  const length = parseDuration(text);
  if (!length) return readRange(new URLSearchParams(), now);
  return { from: now - length, to: now, relative: text };
}

// shifted moves a range by a part of its length, but not into the future: a
// range that comes to the present follows the clock again.
export function shifted(r: Range, by: number, now: number): Range {
  const length = r.to - r.from;
  const to = r.to + length * by;
  if (to < now - Math.max(60, length / 20)) return { from: to - length, to };
  return { from: now - length, to: now, relative: r.relative ?? rangeText(length) };
}

const rangeText = (length: number) =>
  RANGES.find((x) => parseDuration(x) === Math.round(length)) ?? durationText(length);

// wider doubles a range: into the past while it ends now, else to both sides.
export function wider(r: Range, now: number): Range {
  const length = r.to - r.from;
  if (r.relative) return { from: r.to - 2 * length, to: r.to, relative: rangeText(2 * length) };
  const to = Math.min(now, r.to + length / 2);
  return { from: to - 2 * length, to };
}

// stepFor gives the seconds between two points of a chart: a round number, at
// least min, at most about points of them in the range.
const roundSteps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];
export function stepFor(length: number, min = 15, points = 250): number {
  const want = Math.max(min, length / points);
  return roundSteps.find((s) => s >= want) ?? Math.ceil(want / 86400) * 86400;
}

// aligned moves both ends of a range onto a grid of steps that does not move
// with every refresh, so that refreshes and different charts ask for the same
// points. Of steps longer than a quarter of an hour the grid moves each quarter,
// or a chart of 30 days would end hours ago.
export function aligned(r: Range, step: number): { start: number; end: number } {
  const hold = Math.min(step, 900);
  const end = Math.floor(r.to / hold) * hold;
  return { start: end - Math.ceil((end - r.from) / step) * step, end };
}

const two = (n: number) => String(n).padStart(2, '0');

export function fields(t: number, utc: boolean) {
  const d = new Date(t * 1000);
  return utc
    ? {
        y: d.getUTCFullYear(),
        mo: d.getUTCMonth() + 1,
        d: d.getUTCDate(),
        h: d.getUTCHours(),
        m: d.getUTCMinutes(),
        s: d.getUTCSeconds(),
      }
    : {
        y: d.getFullYear(),
        mo: d.getMonth() + 1,
        d: d.getDate(),
        h: d.getHours(),
        m: d.getMinutes(),
        s: d.getSeconds(),
      };
}

export function clock(t: number, utc: boolean, withSeconds = true): string {
  const f = fields(t, utc);
  return `${two(f.h)}:${two(f.m)}${withSeconds ? `:${two(f.s)}` : ''}`;
}

// offset is how many minutes local time is ahead of UTC at t.
export const offset = (t: number): number => -new Date(t * 1000).getTimezoneOffset();

// zoneName is what local time is called at t: CEST, EDT, GMT+9. Each region names
// only its own zones by letters.
export function zoneName(t: number): string {
  const names = ['en-GB', 'en-US', 'en-AU', 'en-CA', 'en-IN', 'en-NZ'].map(
    (l) =>
      new Intl.DateTimeFormat(l, { timeZoneName: 'short' })
        .formatToParts(new Date(t * 1000))
        .find((p) => p.type === 'timeZoneName')?.value ?? '',
  );
  return names.find((n) => n && !/^(GMT|UTC)[+-]/.test(n)) ?? names[0]!;
}

// zoneOf is the name of the zone with a blank before it where the clock is put
// forward or back between from and to, else nothing.
export const zoneOf = (t: number, r: { from: number; to: number }, utc: boolean): string =>
  !utc && offset(r.from) !== offset(r.to) ? ` ${zoneName(t)}` : '';

export function date(t: number, utc: boolean): string {
  const f = fields(t, utc);
  return `${f.y}-${two(f.mo)}-${two(f.d)}`;
}

export function dateTime(t: number, utc: boolean, withSeconds = false): string {
  return `${date(t, utc)} ${clock(t, utc, withSeconds)}`;
}

// parseDateTime reads "2026-11-25 03:10" (or with T, seconds optional).
export function parseDateTime(text: string, utc: boolean): number | undefined {
  const m = /^(\d{4})-(\d{1,2})-(\d{1,2})(?:[ T](\d{1,2}):(\d{2})(?::(\d{2}))?)?$/.exec(text.trim());
  if (!m) return undefined;
  const n = m.slice(1).map((x) => Number(x ?? 0)) as [number, number, number, number, number, number];
  const ms = utc
    ? Date.UTC(n[0], n[1] - 1, n[2], n[3], n[4], n[5])
    : new Date(n[0], n[1] - 1, n[2], n[3], n[4], n[5]).getTime();
  return Number.isNaN(ms) ? undefined : ms / 1000;
}
