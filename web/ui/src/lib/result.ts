// The answer to a query as a table.
import type { Histogram, Labels, Point, QueryData } from '../api/types/query';

export interface ResultRow {
  i: number; // place in the answer
  labels: Labels;
  value?: string; // as the server wrote it
  number?: number;
  histogram?: Histogram;
  points?: number; // of a matrix
  values?: Point[];
  histograms?: [number, Histogram][];
}

export interface ResultTable {
  rows: ResultRow[];
  labels: { name: string; width: number; rows: number }[]; // columns, width in characters
  common: Labels; // the same in all rows, where there are several
  matrix: boolean;
  histograms: boolean;
}

// Labels that say most come first; the others follow by name.
const FIRST = ['__name__', 'machine', 'instance', 'job', 'alertname', 'name', 'device'];
const rank = (l: string) => {
  const i = FIRST.indexOf(l);
  return i < 0 ? FIRST.length : i;
};

export function tableOf(d: QueryData): ResultTable {
  const rows: ResultRow[] = [];
  const t: ResultTable = { rows, labels: [], common: {}, matrix: d.resultType === 'matrix', histograms: false };
  if (d.resultType === 'scalar' || d.resultType === 'string') {
    rows.push({ i: 0, labels: {}, value: d.result[1], number: Number(d.result[1]) });
    return t;
  }
  const seen = new Map<string, { rows: number; first: string; same: boolean; width: number }>();
  d.result.forEach((s, i) => {
    const row: ResultRow = { i, labels: s.metric };
    if ('value' in s && s.value) {
      row.value = s.value[1];
      row.number = Number(s.value[1]);
    }
    if ('histogram' in s && s.histogram) {
      row.histogram = s.histogram[1];
      row.number = Number(s.histogram[1].count);
    }
    if (d.resultType === 'matrix') {
      const m = s as { values?: Point[]; histograms?: [number, Histogram][] };
      row.values = m.values ?? [];
      row.histograms = m.histograms ?? [];
      row.points = row.values.length + row.histograms.length;
      const last = row.values.at(-1);
      if (last) {
        row.value = last[1];
        row.number = Number(last[1]);
      } else row.histogram = row.histograms.at(-1)?.[1];
    }
    if (row.histogram) t.histograms = true;
    for (const name in s.metric) {
      const v = s.metric[name]!;
      const c = seen.get(name);
      if (!c) seen.set(name, { rows: 1, first: v, same: true, width: v.length });
      else {
        c.rows++;
        if (v !== c.first) c.same = false;
        if (v.length > c.width) c.width = v.length;
      }
    }
    rows.push(row);
  });
  for (const [name, c] of [...seen].sort(([a], [b]) => rank(a) - rank(b) || (a < b ? -1 : 1))) {
    if (rows.length > 1 && c.same && c.rows === rows.length) t.common[name] = c.first;
    else t.labels.push({ name, width: Math.max(name.length + 2, c.width), rows: c.rows });
  }
  return t;
}

// ownColumns chooses the labels that get a column of their own: those that most
// rows have. The rest share one, for a table of eighty columns can be neither
// read nor scrolled.
export function ownColumns(
  t: ResultTable,
  without: string[],
  most = 12,
): { own: ResultTable['labels']; rest: string[] } {
  const shown = t.labels.filter((l) => !without.includes(l.name));
  if (shown.length <= most) return { own: shown, rest: [] };
  const common = new Set([...shown].sort((a, b) => b.rows - a.rows).slice(0, most - 2));
  return { own: shown.filter((l) => common.has(l)), rest: shown.filter((l) => !common.has(l)).map((l) => l.name) };
}

const cell = (s: string) => (/[",\r\n]/.test(s) ? `"${s.replaceAll('"', '""')}"` : s);

export const histogramText = (h: Histogram) => `count ${h.count}, sum ${h.sum}`;

// csv has every label as a column, the common ones too. A spreadsheet would run
// what begins like a formula, so text that does gets a quote before it.
export function csv(t: ResultTable, separator = ','): string {
  const names = [...Object.keys(t.common), ...t.labels.map((l) => l.name)];
  const safe = (s: string) => (/^[=+\-@\t\r]/.test(s) ? `'${s}` : s);
  const out = separator === ',' ? cell : (s: string) => s.replace(/[\t\r\n]/g, ' ');
  const head = [...names, ...(t.matrix ? ['time', 'value'] : ['value'])];
  const lines = [head.map(out).join(separator)];
  for (const r of t.rows) {
    const labels = names.map((n) => out(safe(r.labels[n] ?? '')));
    const add = (...more: string[]) => lines.push([...labels, ...more.map(out)].join(separator));
    if (!t.matrix) add(r.histogram ? histogramText(r.histogram) : (r.value ?? ''));
    for (const [time, v] of r.values ?? []) add(String(time), v);
    for (const [time, h] of r.histograms ?? []) add(String(time), histogramText(h));
  }
  return `${lines.join('\n')}\n`;
}
