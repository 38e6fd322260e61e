// Histograms over time as a grid of cells: rows are buckets, columns are steps.
import type { MatrixSeries } from '../api/types/query';

export interface Heat {
  times: number[];
  rows: { low: number; high: number }[]; // lowest first
  cells: (number | null)[][]; // [row][column]
  max: number;
}

export interface HeatGrid {
  start: number;
  end: number;
  step: number;
}

const column = (t: number, g: HeatGrid) => Math.round((t - g.start) / g.step);
const bound = (s: string) => (s === '+Inf' || s === 'Inf' ? Infinity : s === '-Inf' ? -Infinity : Number(s));

export const isClassic = (m: MatrixSeries[]) =>
  m.length > 1 && m.every((s) => s.metric.le !== undefined && !Number.isNaN(bound(s.metric.le)));
export const isNative = (m: MatrixSeries[]) => m.some((s) => s.histograms?.length);

// heatOf adds up all series of an answer; undefined if it has no histograms.
export function heatOf(m: MatrixSeries[], g: HeatGrid, most = 120): Heat | undefined {
  const columns = Math.floor((g.end - g.start) / g.step + 1e-6) + 1;
  const times = Array.from({ length: columns }, (_, i) => g.start + i * g.step);
  const byRow = isNative(m) ? nativeRows(m, g, columns) : isClassic(m) ? classicRows(m, g, columns) : undefined;
  if (!byRow) return undefined;
  const sorted = [...byRow.values()]
    .filter((r) => r.cells.some((c) => c !== null && c > 0) || byRow.size <= 40)
    .sort((a, b) => a.low - b.low || a.high - b.high);
  // More buckets than one can see are drawn together.
  const every = Math.ceil(sorted.length / most);
  const rows: Heat['rows'] = [];
  const cells: Heat['cells'] = [];
  for (let i = 0; i < sorted.length; i += every) {
    const part = sorted.slice(i, i + every);
    rows.push({ low: part[0]!.low, high: part.at(-1)!.high });
    cells.push(
      times.map((_, c) =>
        part.reduce<number | null>((sum, r) => (r.cells[c] == null ? sum : (sum ?? 0) + r.cells[c]!), null),
      ),
    );
  }
  const max = cells.reduce((top, r) => r.reduce<number>((x, c) => Math.max(x, c ?? 0), top), 0);
  return { times, rows, cells, max };
}

interface Row {
  low: number;
  high: number;
  cells: (number | null)[];
}

// A classic bucket counts all below its bound, so each gives up what the one
// before it has; a series of its own may lack a step.
function classicRows(m: MatrixSeries[], g: HeatGrid, columns: number): Map<number, Row> {
  const sums = new Map<number, Row>();
  for (const s of m) {
    const high = bound(s.metric.le!);
    let row = sums.get(high);
    if (!row) sums.set(high, (row = { low: -Infinity, high, cells: Array<number | null>(columns).fill(null) }));
    for (const [t, v] of s.values ?? []) {
      const c = column(t, g);
      if (c >= 0 && c < columns && !Number.isNaN(Number(v))) row.cells[c] = (row.cells[c] ?? 0) + Number(v);
    }
  }
  const sorted = [...sums.values()].sort((a, b) => a.high - b.high);
  for (let i = sorted.length - 1; i > 0; i--) {
    const row = sorted[i]!;
    const below = sorted[i - 1]!;
    row.low = below.high;
    row.cells = row.cells.map((v, c) => (v === null ? null : Math.max(0, v - (below.cells[c] ?? 0))));
  }
  if (sorted[0] && sorted[0].high > 0) sorted[0].low = 0;
  return sums;
}

function nativeRows(m: MatrixSeries[], g: HeatGrid, columns: number): Map<string, Row> {
  const rows = new Map<string, Row>();
  for (const s of m) {
    for (const [t, h] of s.histograms ?? []) {
      const c = column(t, g);
      if (c < 0 || c >= columns) continue;
      for (const [, low, high, count] of h.buckets ?? []) {
        const key = `${low} ${high}`;
        let row = rows.get(key);
        if (!row)
          rows.set(
            key,
            (row = { low: bound(low), high: bound(high), cells: Array<number | null>(columns).fill(null) }),
          );
        row.cells[c] = (row.cells[c] ?? 0) + Number(count);
      }
    }
  }
  return rows;
}
