// Exemplars: single measurements that a histogram or counter remembers, each
// with labels of its own, mostly the id of a trace.
import type { Labels } from '../api/types/query';

// Mirrors /api/v1/query_exemplars.
export interface ExemplarSeries {
  seriesLabels: Labels;
  exemplars: { labels: Labels; value: string; timestamp: number }[];
}

export interface Exemplar {
  time: number;
  value: number;
  labels: Labels;
  series: Labels;
}

// exemplarsOf lists those that can be drawn, the latest first. Of more than most
// the largest of each moment stay: what took long is what one looks for.
export function exemplarsOf(all: ExemplarSeries[], most = 1000): Exemplar[] {
  const list = all
    .flatMap((s) =>
      s.exemplars.map(
        (e): Exemplar => ({ time: e.timestamp, value: Number(e.value), labels: e.labels, series: s.seriesLabels }),
      ),
    )
    .filter((e) => Number.isFinite(e.value));
  list.sort((a, b) => b.time - a.time || b.value - a.value);
  if (list.length <= most) return list;
  const [last, first] = [list[0]!.time, list.at(-1)!.time];
  const column = (e: Exemplar) => Math.min(most - 1, Math.floor(((last - e.time) / (last - first || 1)) * most));
  const best = new Map<number, Exemplar>();
  for (const e of list) if (e.value > (best.get(column(e))?.value ?? -Infinity)) best.set(column(e), e);
  return [...best.values()];
}
