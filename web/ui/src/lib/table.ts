// What a table computes, apart from drawing.

// windowOf says which rows are in sight, with some to spare on both sides.
export function windowOf(top: number, height: number, row: number, count: number): { first: number; last: number } {
  const spare = 12;
  const first = Math.max(0, Math.min(count, Math.floor(top / row) - spare));
  const last = Math.min(count, Math.ceil((top + height) / row) + spare);
  return { first, last: Math.max(first, last) };
}

const texts = new Intl.Collator('en', { numeric: true, sensitivity: 'base' });

// sortRows sorts stably; what has no value goes last in both directions. Groups
// stay together, in the order of their names.
export function sortRows<R>(rows: R[], by: ((r: R) => number | string | undefined) | undefined, down: boolean, group?: (r: R) => string): R[] {
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
