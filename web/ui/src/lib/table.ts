// What a table computes, apart from drawing.

// windowOf says which rows are in sight, with some to spare on both sides. tops
// are where they begin, and at last where the last one ends.
export function windowOf(top: number, height: number, tops: number[]): { first: number; last: number } {
  const spare = 12;
  const count = tops.length - 1;
  const first = Math.max(0, firstFrom(tops, top + 1) - 1 - spare);
  const last = Math.min(count, firstFrom(tops, top + height) + spare);
  return { first: Math.min(first, count), last: Math.max(first, last) };
}

// firstFrom is the index of the first number that is at least v.
function firstFrom(tops: number[], v: number): number {
  let [lo, hi] = [0, tops.length];
  while (lo < hi) {
    const mid = (lo + hi) >> 1;
    if (tops[mid]! < v) lo = mid + 1;
    else hi = mid;
  }
  return lo;
}

// Item is what stands in a line of a table: a row, or the head of a group.
export type Item<R> = { row: R; index: number; group?: undefined } | { group: string; count: number; row?: undefined };

// itemsOf puts a head before each group of rows, which are in the order of groups.
export function itemsOf<R>(rows: R[], group?: (r: R) => string): Item<R>[] {
  const out: Item<R>[] = [];
  let head: { group: string; count: number } | undefined;
  rows.forEach((row, index) => {
    const g = group?.(row);
    if (g !== undefined && g !== head?.group) out.push((head = { group: g, count: 0 }));
    if (head) head.count++;
    out.push({ row, index });
  });
  return out;
}

// fitting leaves out columns until the others fit: those of the highest rank
// first, never those without one.
export function fitting<C extends { width?: string | undefined; min?: number | undefined; rank?: number | undefined }>(
  columns: C[],
  room: number,
): C[] {
  const out = [...columns];
  const width = () => out.reduce((n, c) => n + (parseFloat(c.width ?? '') || c.min || 80), 0);
  while (room > 0 && width() > room) {
    const most = Math.max(0, ...out.map((c) => c.rank ?? 0));
    if (!most) break;
    out.splice(
      out.findIndex((c) => c.rank === most),
      1,
    );
  }
  return out;
}

const texts = new Intl.Collator('en', { numeric: true, sensitivity: 'base' });

// sortRows sorts stably; what has no value goes last in both directions. Groups
// stay together, in the order of their names.
export function sortRows<R>(
  rows: R[],
  by: ((r: R) => number | string | undefined) | undefined,
  down: boolean,
  group?: (r: R) => string,
): R[] {
  if (!by && !group) return rows;
  const keyed = rows.map((r) => ({ r, v: by?.(r), g: group?.(r) ?? '' }));
  keyed.sort((a, b) => {
    if (a.g !== b.g) return texts.compare(a.g, b.g);
    const none = (v: number | string | undefined) => v === undefined || v === '' || Number.isNaN(v);
    if (none(a.v) || none(b.v)) return Number(none(a.v)) - Number(none(b.v));
    const c = typeof a.v === 'number' && typeof b.v === 'number' ? a.v - b.v : texts.compare(String(a.v), String(b.v));
    return down ? -c : c;
  });
  return keyed.map((k) => k.r);
}
