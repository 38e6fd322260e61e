// A chart as data: what it asks and how it is drawn, in a form that can be stored. Charts
// of pages hand it out (panelOf), components/PanelChart draws it.
import { seriesName } from './chart';
import type { Labels } from '../api/types/query';

export interface Threshold {
  value: number;
  label: string;
  kind: 'warn' | 'crit';
}

// PanelQuery: expr may contain $rate and $step (lib/chart.ts), Grafana's names for them,
// and variables. legend names the series, with labels as {{machine}}; without it they are
// named by their labels.
export interface PanelQuery {
  expr: string;
  legend?: string;
  negate?: boolean; // drawn below zero, for the other direction
  line?: boolean; // a line where the others are stacked
}

export interface Panel {
  title: string;
  unit: string; // one of lib/format's UNITS
  queries: PanelQuery[];
  kind?: 'line' | 'area' | 'stacked'; // 'line' by default
  min?: number; // of the axis, at most
  max?: number; // of the axis, at least
  thresholds?: Threshold[];
}

// Vars are values of variables by name. An expression uses them as $name or ${name}.
export type Vars = Record<string, string>;

const GRAFANA: Vars = { __rate_interval: '$rate', __interval: '$step' };

// filled replaces variables. In strings of an expression values are escaped as PromQL
// requires; what a variable matches by =~ is a regular expression already.
export function filled(text: string, vars: Vars, inExpr = false): string {
  return text.replace(/\$(?:\{(\w+)\}|(\w+))/g, (all, braced?: string, plain?: string) => {
    const name = braced ?? plain!;
    if (Object.hasOwn(GRAFANA, name)) return GRAFANA[name]!;
    if (!Object.hasOwn(vars, name)) return all;
    return inExpr ? vars[name]!.replace(/[\\"]/g, '\\$&').replaceAll('\n', '\\n') : vars[name]!;
  });
}

// named fills labels into a legend.
export const named = (legend: string, labels: Labels): string =>
  legend.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name: string) => labels[name] ?? '').trim() || seriesName(labels);

// filledPanel fills variables into all parts of a panel.
export function filledPanel(p: Panel, vars: Vars): Panel {
  return {
    ...p,
    title: filled(p.title, vars),
    queries: p.queries.map((q) => ({
      ...q,
      expr: filled(q.expr, vars, true),
      ...(q.legend !== undefined && { legend: filled(q.legend, vars) }),
    })),
  };
}

// Drawn is what a chart of a page draws.
interface Drawn {
  title: string;
  unit?: string | undefined;
  stack?: boolean | undefined;
  area?: boolean | undefined;
  min?: number | undefined;
  max?: number | undefined;
  thresholds?: Threshold[] | undefined;
  queries: { expr: string; name: (l: Labels) => string | null; negate?: boolean; line?: boolean }[];
}

// panelOf is a chart as data. Names that it makes by a function become a legend: lines are
// what it draws at the moment.
export function panelOf(c: Drawn, lines: { query: number; name: string; labels: Labels }[]): Panel {
  return {
    title: c.title,
    unit: c.unit ?? 'none',
    queries: c.queries.map((q, i) => {
      const legend =
        legendOf(lines.filter((l) => l.query === i)) ?? (lines.length ? undefined : (q.name({}) ?? undefined));
      return {
        expr: q.expr,
        ...(legend && { legend }),
        ...(q.negate && { negate: true }),
        ...(q.line && { line: true }),
      };
    }),
    ...(c.stack ? { kind: 'stacked' as const } : c.area && { kind: 'area' as const }),
    ...(c.min !== undefined && { min: c.min }),
    ...(c.max !== undefined && { max: c.max }),
    ...(c.thresholds?.length && { thresholds: c.thresholds }),
  };
}

// legendOf is the shortest legend that names lines as they are named; the label in which
// they differ where there is none, as where a function names them by cases.
export function legendOf(lines: { name: string; labels: Labels }[]): string | undefined {
  const [first] = lines;
  if (!first) return undefined;
  const fits = (legend: string) => lines.every((l) => named(legend, l.labels) === l.name);
  if (fits(first.name)) return first.name;
  const labels = Object.entries(first.labels).filter(([, v]) => v && first.name.includes(v));
  const one = labels.map(([k, v]) => first.name.replace(v, `{{${k}}}`)).find(fits);
  if (one) return one;
  const two = labels
    .flatMap(([a, v]) => labels.map(([b, w]) => first.name.replace(v, `{{${a}}}`).replace(w, `{{${b}}}`)))
    .find(fits);
  if (two) return two;
  const differing = Object.keys(first.labels).filter((k) => lines.some((l) => l.labels[k] !== first.labels[k]));
  return differing.length ? differing.map((k) => `{{${k}}}`).join(' ') : undefined;
}
