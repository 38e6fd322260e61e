// Explore's part of the URL. It is Prometheus' own, g0.expr and so on, so that
// links made for Prometheus work here and ours work there.
import type { Params } from '../state/location';
import { UNITS, type Unit } from './format';
import { unitOf } from './machine';
import { durationText, parseDateTime, parseDuration } from './time';

export type Tab = 'table' | 'graph' | 'explain';
export type Mode = 'lines' | 'stacked' | 'heatmap';
export type Density = 'low' | 'medium' | 'high';

export interface Query {
  expr: string;
  tab: Tab;
  mode: Mode;
  density: Density; // points of a graph, unless step is set
  step?: number; // seconds
  min?: number; // of the graph's axis
  log: boolean; // the graph's axis is logarithmic
  unit?: Unit; // of the graph; guessed by default
  exemplars: boolean; // drawn in the graph
  hidden: boolean; // neither asked nor shown
  without: string[]; // labels that are no columns
}

export const POINTS: Record<Density, number> = { low: 100, medium: 250, high: 750 };

export const newQuery = (expr = ''): Query => ({
  expr,
  tab: 'table',
  mode: 'lines',
  density: 'medium',
  log: false,
  exemplars: false,
  hidden: false,
  without: [],
});

// readQueries reads g0, g1, … up to the first that is missing; at least one.
export function readQueries(params: URLSearchParams): Query[] {
  const names = [...params.keys()];
  const all: Query[] = [];
  for (let i = 0; names.some((n) => n.startsWith(`g${i}.`)); i++) {
    const get = (name: string) => params.get(`g${i}.${name}`) ?? '';
    const q = newQuery(get('expr'));
    const tab = get('tab');
    q.tab = tab === '0' || tab === 'graph' ? 'graph' : tab === 'explain' ? 'explain' : 'table';
    const mode = get('display_mode');
    if (mode === 'stacked' || mode === 'heatmap') q.mode = mode;
    if (get('stacked') === '1') q.mode = 'stacked';
    const density = get('res_density');
    if (density === 'low' || density === 'high') q.density = density;
    const step =
      get('res_type') === 'auto'
        ? 0
        : Number(get('res_step')) || Number(get('step_input')) || parseDuration(get('step_input')) || 0;
    if (step > 0) q.step = step;
    if (get('y_axis_min') !== '' && Number.isFinite(Number(get('y_axis_min')))) q.min = Number(get('y_axis_min'));
    q.log = get('y_axis_log') === '1';
    const unit = UNITS.find((u) => u === get('unit'));
    if (unit) q.unit = unit;
    q.exemplars = get('show_exemplars') === '1';
    q.hidden = get('hidden') === '1';
    q.without = get('without') ? get('without').split(',') : [];
    all.push(q);
  }
  return all.length ? all : [newQuery()];
}

// writeQueries gives the changes that make params say queries and nothing else.
export function writeQueries(params: URLSearchParams, queries: Query[]): Params {
  const out: Params = {};
  for (const name of params.keys()) if (/^g\d+\./.test(name)) out[name] = null;
  queries.forEach((q, i) => {
    const set = (name: string, value: string | number | boolean | undefined) => {
      out[`g${i}.${name}`] = value ?? null;
    };
    set('expr', q.expr);
    set('tab', q.tab);
    if (q.mode !== 'lines') set('display_mode', q.mode);
    if (q.step) {
      set('res_type', 'fixed');
      set('res_step', q.step);
    } else if (q.density !== 'medium') {
      set('res_type', 'auto');
      set('res_density', q.density);
    }
    if (q.min !== undefined) set('y_axis_min', String(q.min));
    if (q.log) set('y_axis_log', true);
    if (q.unit) set('unit', q.unit);
    if (q.exemplars) set('show_exemplars', true);
    if (q.hidden) set('hidden', true);
    if (q.without.length) set('without', q.without.join(','));
  });
  return out;
}

// arrival turns the range of a link made for Prometheus into the range that our
// pages share; undefined if the link says nothing of it, or has ours already.
export function arrival(params: URLSearchParams): Params | undefined {
  if (['range', 'from', 'to'].some((k) => params.has(k))) return undefined;
  for (let i = 0; params.has(`g${i}.expr`); i++) {
    const length = parseDuration(params.get(`g${i}.range_input`) ?? '');
    const endText = params.get(`g${i}.end_input`) || params.get(`g${i}.moment_input`);
    // Prometheus writes UTC without saying so; others write 2026-11-25T02:00:00.000Z.
    const end = endText
      ? (parseDateTime(endText.replace(/(\.\d+)?Z$/, ''), true) ??
        (Number(endText) > 1e8 ? Number(endText) : undefined))
      : undefined;
    if (end !== undefined) return { range: null, from: Math.round(end - (length ?? 3600)), to: Math.round(end) };
    if (length) return { range: durationText(length), from: null, to: null };
  }
  return undefined;
}

// Where the server says that a query is wrong: "1:17: parse error: …". It counts
// bytes, an editor counts UTF-16 units.
export function errorPosition(expr: string, message: string): { from: number; line: number; text: string } | undefined {
  const m = /(?:^|: )(\d+):(\d+): (?:parse error: )?([\s\S]*)$/.exec(message);
  if (!m) return undefined;
  const line = Number(m[1]) - 1;
  const lines = expr.split('\n');
  if (line >= lines.length) return undefined;
  const bytes = new TextEncoder().encode(lines[line]!);
  const column = new TextDecoder().decode(bytes.slice(0, Number(m[2]) - 1)).length;
  const from = lines.slice(0, line).reduce((n, l) => n + l.length + 1, 0) + column;
  return { from: Math.min(from, expr.length), line, text: m[3]! };
}

// remembered puts an expression at the head of the history.
export function remembered(history: string[], expr: string, most = 100): string[] {
  return [expr, ...history.filter((h) => h !== expr)].slice(0, most);
}

// guessedUnit is the unit of a query of one metric, by its name. Of more than that nothing
// is guessed: a quotient of bytes is not in bytes.
export function guessedUnit(expr: string): Unit {
  const bare = expr
    .replace(/"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/g, '')
    .replace(/\{[^}]*\}|\[[^\]]*\]/g, '')
    .replace(/\b(by|without)\s*\([^)]*\)/g, '');
  if (/[-+*/%^<>=]|\b(and|or|unless|offset)\b/.test(bare)) return 'none';
  const names = bare.match(/[a-zA-Z_:][\w:]*(?!\s*\(|[\w:])/g) ?? [];
  if (names.length !== 1 || /\bcount|changes|resets|absent|timestamp/.test(bare)) return 'none';
  const unit = unitOf(names[0]!);
  if (!/\b(rate|irate|deriv)\b/.test(bare)) return unit;
  return unit === 'bytes' ? 'bytesps' : unit === 'none' ? 'perSecond' : 'none';
}
