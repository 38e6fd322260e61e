// What a chart computes, apart from drawing.
import type { Labels } from '../api/types/query';

export interface Line {
  name: string;
  labels: Labels;
  query: number; // index of the query that gave it
  values: (number | null)[];
  negate: boolean;
  colour: string; // a colour or var(--name)
}

export const colour = (i: number) => `var(--series-${(i % 8) + 1})`;

// stackFrame adds lines up, the first one lowest. A gap counts as nothing where
// another line has a value, and stays a gap where none has.
export function stackFrame(lines: Pick<Line, 'values'>[]): (number | null)[][] {
  const sum: (number | null)[] = [];
  return lines.map((l) => l.values.map((v, i) => {
    if (v !== null) sum[i] = (sum[i] ?? 0) + v;
    return sum[i] ?? null;
  }));
}

// seriesName writes labels as PromQL does, without those in which all are alike.
export function seriesName(metric: Labels, common: Labels = {}): string {
  const { __name__: name = '', ...rest } = metric;
  const parts = Object.entries(rest).filter(([k, v]) => common[k] !== v).map(([k, v]) => `${k}=${JSON.stringify(v)}`);
  return parts.length ? `${name}{${parts.join(', ')}}` : name || '{}';
}
