// The limits that alerting rules compare with, for the charts that draw what is compared.
import type { AlertRule } from '../api/types/alerts';
import { stackFrame, type Line } from './chart';
import { ago } from './format';
import { conditionOf, narrowed, type Condition } from './incident';
import type { Threshold } from './panel';
import { type Node, text } from './promql';

// RULES are those of which charts draw limits.
export const RULES = [
  'FilesystemFull',
  'FilesystemAlmostFull',
  'InodesAlmostGone',
  'MemoryAlmostGone',
  'MemoryStalled',
  'IoStalled',
  'CpuStarved',
  'TooHot',
  'ConntrackAlmostFull',
  'PostgresConnectionsAlmostGone',
  'PostgresLongTransaction',
  'RedisMemoryAlmostGone',
];

// A Comparison has a number as its limit, or another expression.
export type Comparison = Condition & { other?: Node };

export interface Limiting {
  name: string;
  kind: RuleLimit['kind'];
  hold: number; // seconds for which the condition must last
  all: Comparison[]; // all of them must be true
}

// RuleLimit is a line of a chart. Its label says what is compared, and in which direction.
export interface RuleLimit extends Omit<Threshold, 'kind'> {
  kind: Threshold['kind'] | 'info';
  rule: string;
  title: string;
}

// joint is one expression of several rules, so that one request parses all of them.
export const joint = (rules: AlertRule[]): string => rules.map((r) => `(${r.query})`).join(' or ');

// limiting takes the tree of joint apart.
export function limiting(rules: AlertRule[], tree: Node): Limiting[] {
  const parts: Node[] = [];
  let rest = tree;
  for (let i = rules.length - 1; i > 0 && rest.type === 'binaryExpr'; i--) {
    parts.unshift(rest.rhs);
    rest = rest.lhs;
  }
  parts.unshift(rest);
  return rules.map((r, i) => {
    const severity = r.labels?.severity ?? '';
    return {
      name: r.name,
      kind: severity.includes('critical') ? 'crit' : severity === 'info' ? 'info' : 'warn',
      hold: r.duration,
      all: parts[i] ? comparisons(parts[i]) : [],
    };
  });
}

// comparisons are those by which an expression selects. The least or most of what is
// selected is selected by the same ones.
export function comparisons(n: Node): Comparison[] {
  if (n.type === 'parenExpr') return comparisons(n.expr);
  if (n.type === 'aggregation') return n.op === 'min' || n.op === 'max' ? comparisons(n.expr) : [];
  if (n.type !== 'binaryExpr') return [];
  if (n.op === 'or' || n.op === 'unless') return comparisons(n.lhs);
  if (['and', '+', '-', '*', '/'].includes(n.op)) return [...comparisons(n.lhs), ...comparisons(n.rhs)];
  const c = conditionOf(n);
  if (c) return [c];
  return ['>', '>=', '<', '<='].includes(n.op)
    ? [{ expr: text(n.lhs), limit: NaN, above: n.op.startsWith('>'), other: n.rhs }]
    : [];
}

// found are the comparisons of a rule whose expression is what a chart draws.
const found = (all: Limiting[], rule: string, of: RegExp): { r: Limiting; c: Comparison }[] =>
  all
    .filter((r) => r.name === rule)
    .flatMap((r) => {
      const c = r.all.find((x) => of.test(x.expr));
      return c ? [{ r, c }] : [];
    });

function line(r: Limiting, what: string, above: boolean, value: number): RuleLimit {
  const direction = above ? 'above' : 'below';
  return {
    rule: r.name,
    kind: r.kind,
    value,
    label: [what, direction].filter(Boolean).join(' '),
    title: `Alert ${r.name} fires ${r.hold ? `after ${ago(r.hold)} ` : ''}${direction} this value`,
  };
}

// direct are limits of what is drawn as it is compared.
export const direct = (all: Limiting[], rule: string, of: RegExp, what = ''): RuleLimit[] =>
  found(all, rule, of).flatMap(({ r, c }) => (Number.isNaN(c.limit) ? [] : [line(r, what, c.above, c.limit)]));

// used are limits of what is left, where the chart draws what is used.
export const used = (all: Limiting[], rule: string, of: RegExp, what = ''): RuleLimit[] =>
  direct(all, rule, of, what).map((l) => ({ ...l, ...flipped(l, 1 - l.value) }));

const flipped = ({ label, title }: RuleLimit, value: number) => {
  const flip = (s: string) => s.replace(/\b(above|below)\b/, (w) => (w === 'above' ? 'below' : 'above'));
  return { value, label: flip(label), title: flip(title) };
};

// ofTotal are limits of a part of a total, whose line has a name of its own in the chart.
export function ofTotal(
  all: Limiting[],
  rule: string,
  of: RegExp,
  lines: Line[],
  total: string,
  what = '',
): RuleLimit[] {
  const whole = lastOf(lines, total);
  return whole === undefined ? [] : direct(all, rule, of, what).map((l) => ({ ...l, value: l.value * whole }));
}

const lastOf = (lines: Line[], name: string): number | undefined =>
  lines.find((l) => l.name === name)?.values.findLast((v) => v !== null) ?? undefined;

const AVAILABLE = /^node_memory_MemAvailable_bytes(\{[^}]*\})?$/;

// memory: what is available must be less than a part of all, and less than some bytes.
export function memory(all: Limiting[], lines: Line[]): RuleLimit[] {
  const total = lastOf(lines, 'total');
  if (total === undefined) return [];
  return found(all, 'MemoryAlmostGone', /\/ node_memory_MemTotal_bytes/).flatMap(({ r, c }) => {
    const bytes = r.all.find((x) => AVAILABLE.test(x.expr) && !x.above)?.limit ?? Infinity;
    return c.above ? [] : [line(r, 'used', true, total - Math.min(total * c.limit, bytes))];
  });
}

// inSight are the limits that have a place on the axis: the others would only fill the legend.
// As a threshold does, one widens the axis if the lines come within a third of it.
export function inSight(limits: RuleLimit[], lines: Line[], axis: { max?: number; stack?: boolean }): RuleLimit[] {
  const shown = axis.stack ? stackFrame(lines) : lines.map((l) => l.values);
  let top = 0;
  for (const values of shown) for (const v of values) if (v !== null && v > top) top = v;
  return limits.filter((l) => l.value <= Math.max(3 * top, axis.max ?? 0));
}

const MOST_SIZES = 3;

// space: what is free must be less than a part of the size, and less than some bytes, so that
// the limit of a large file system is another one. sizes are in bytes, by the place.
export function space(all: Limiting[], sizes: { mountpoint: string; size?: number }[]): RuleLimit[] {
  return ['FilesystemAlmostFull', 'FilesystemFull'].flatMap((rule) =>
    found(all, rule, /^volume:free:ratio/).flatMap(({ r, c }) => {
      if (c.above) return [];
      const bytes = r.all.find((x) => x.expr.startsWith('volume:avail:bytes') && !x.above)?.limit;
      if (bytes === undefined) return [line(r, '', true, 1 - c.limit)];
      const by = new Map<number, string[]>();
      for (const f of sizes) {
        if (!f.size) continue;
        const value = Math.round((1 - Math.min(c.limit, bytes / f.size)) * 1e4) / 1e4;
        by.set(value, [...(by.get(value) ?? []), f.mountpoint]);
      }
      return [...by]
        .sort(([a], [b]) => a - b)
        .slice(0, MOST_SIZES)
        .map(([value, places]) => line(r, by.size > 1 ? placesText(places) : '', true, value));
    }),
  );
}

const placesText = (places: string[]) =>
  places.length > 2 ? `${places[0]} and ${places.length - 1} more` : places.join(' and ');

// against is the expression that a rule compares a machine's series with, where that is not a
// number.
export function against(all: Limiting[], rule: string, machine: string): string | undefined {
  const other = all.find((r) => r.name === rule)?.all.find((c) => c.other)?.other;
  return other && text(narrowed(other, 'machine', machine));
}

// valued are the limits that such an expression has.
export function valued(all: Limiting[], rule: string, values: number[]): RuleLimit[] {
  const r = all.find((x) => x.name === rule);
  const c = r?.all.find((x) => x.other);
  return r && c
    ? [...new Set(values)]
        .sort((a, b) => a - b)
        .slice(0, MOST_SIZES)
        .map((v) => line(r, '', c.above, v))
    : [];
}
