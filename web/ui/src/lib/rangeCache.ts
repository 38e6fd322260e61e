// A chart that is refreshed asks only for the steps that it lacks. Old answers are
// continued where their points lie on the same grid of steps.
import type { MatrixSeries } from '../api/types/query';

export interface Grid {
  start: number;
  end: number;
  step: number;
} // Unix seconds, both ends inclusive
export interface Frame {
  times: number[]; // every step of the grid
  series: { metric: Record<string, string>; values: (number | null)[] }[];
}

interface Entry {
  grid: Grid;
  byKey: Map<string, { metric: Record<string, string>; values: Map<number, number> }>;
}

// The last points of an answer were made while samples were still arriving and
// rules had not yet been evaluated, so they are asked for again.
export const OVERLAP = 2;

const keyOf = (metric: Record<string, string>) =>
  JSON.stringify(Object.entries(metric).sort(([a], [b]) => (a < b ? -1 : 1)));

export class RangeCache {
  private entries = new Map<string, Entry>();
  constructor(private readonly most = 60) {}

  // missing is the part of grid that has to be asked for: what is newer than
  // what is known, or older after a step back; all of it when nothing of expr is
  // known at this step, or what is known lies elsewhere. It is never empty: of a
  // range that is known it is the last point.
  missing(expr: string, grid: Grid): Grid {
    const e = this.entries.get(`${grid.step} ${expr}`);
    if (!e || (grid.start - e.grid.start) % grid.step !== 0) return grid;
    const { start, end } = e.grid;
    if (grid.start >= start && grid.start <= end && grid.end >= end)
      return { ...grid, start: Math.max(grid.start, end - (OVERLAP - 1) * grid.step) };
    if (grid.start >= start && grid.end < end) return { ...grid, start: grid.end };
    if (grid.start < start && grid.end >= start - grid.step && grid.end < end)
      return { ...grid, end: Math.min(grid.end, start - grid.step) };
    return grid;
  }

  // forget has all of an expression asked for again.
  forget(expr: string, step: number): void {
    this.entries.delete(`${step} ${expr}`);
  }

  // put adds the answer to asked and returns all that is known within grid.
  put(expr: string, grid: Grid, asked: Grid, answer: MatrixSeries[]): Frame {
    const id = `${grid.step} ${expr}`;
    let e = asked.start > grid.start || asked.end < grid.end ? this.entries.get(id) : undefined;
    const lost = !e && (asked.start > grid.start || asked.end < grid.end); // forgotten while the answer was on its way
    if (!e) e = { grid, byKey: new Map() };
    for (const [key, s] of e.byKey) {
      for (const t of s.values.keys())
        if (t < grid.start || t > grid.end || (t >= asked.start && t <= asked.end)) s.values.delete(t);
      if (!s.values.size) e.byKey.delete(key);
    }
    for (const a of answer) {
      const key = keyOf(a.metric);
      let s = e.byKey.get(key);
      if (!s) e.byKey.set(key, (s = { metric: a.metric, values: new Map() }));
      for (const [t, v] of a.values ?? []) s.values.set(Math.round(t * 1000) / 1000, Number(v));
    }
    e.grid = lost ? asked : grid;
    this.entries.delete(id); // the least recently used goes first
    this.entries.set(id, e);
    if (this.entries.size > this.most) this.entries.delete(this.entries.keys().next().value!);

    const times: number[] = [];
    for (let t = grid.start; t <= grid.end + grid.step / 1000; t += grid.step) times.push(t);
    return {
      times,
      series: [...e.byKey.values()].map((s) => ({
        metric: s.metric,
        values: times.map((t) => {
          const v = s.values.get(t);
          return v === undefined || Number.isNaN(v) ? null : v;
        }),
      })),
    };
  }
}
