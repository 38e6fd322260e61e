// The incident around an alert: what its rule compares, what happened before, what else
// moved on its machine.
import type { FleetEvent, Moved } from '../api/types/events';
import type { Labels } from '../api/types/query';
import { isAlert } from './events';
import type { Unit } from './format';
import { type Node, text } from './promql';

export interface Condition {
  expr: string; // what is compared
  limit: number;
  above: boolean; // it fires above the limit
}

const FLIPPED: Record<string, string> = { '>': '<', '<': '>', '>=': '<=', '<=': '>=' };

// numberOf is the value of an expression of numbers, undefined for any other.
function numberOf(n: Node): number | undefined {
  if (n.type === 'numberLiteral') return Number(n.val);
  if (n.type === 'parenExpr') return numberOf(n.expr);
  if (n.type === 'unaryExpr') {
    const v = numberOf(n.expr);
    return v === undefined ? undefined : n.op === '-' ? -v : v;
  }
  if (n.type !== 'binaryExpr') return undefined;
  const [a, b] = [numberOf(n.lhs), numberOf(n.rhs)];
  if (a === undefined || b === undefined) return undefined;
  const ops: Record<string, number> = { '+': a + b, '-': a - b, '*': a * b, '/': a / b };
  return ops[n.op];
}

// conditionOf is the comparison with a number by which a rule fires: the first one, since what
// follows narrows it. undefined where there is none, as where an alert fires on what is absent.
export function conditionOf(n: Node): Condition | undefined {
  if (n.type === 'parenExpr') return conditionOf(n.expr);
  if (n.type === 'aggregation') return undefined;
  if (n.type !== 'binaryExpr') return undefined;
  if (n.op === 'and' || n.op === 'unless' || n.op === 'or') return conditionOf(n.lhs) ?? conditionOf(n.rhs);
  // A comparison may be within: "1 - (free < 0.03)", "(x > 1) * on (machine) info".
  if (['*', '+', '-', '/'].includes(n.op)) return conditionOf(n.lhs) ?? conditionOf(n.rhs);
  if (!FLIPPED[n.op]) return undefined;
  const right = numberOf(n.rhs);
  if (right !== undefined) return { expr: text(n.lhs), limit: right, above: n.op.startsWith('>') };
  const left = numberOf(n.lhs);
  if (left !== undefined) return { expr: text(n.rhs), limit: left, above: FLIPPED[n.op]!.startsWith('>') };
  return undefined;
}

// narrowed limits all selectors of a tree to a label's value, but for those that ask for another
// one. What a thousand machines share is asked of one.
export function narrowed(n: Node, label: string, value: string): Node {
  const walk = (x: unknown): unknown => {
    if (Array.isArray(x)) return x.map(walk);
    if (typeof x !== 'object' || x === null) return x;
    const out = Object.fromEntries(Object.entries(x).map(([k, v]) => [k, k === 'matchers' ? v : walk(v)]));
    if (out.type === 'vectorSelector' || out.type === 'matrixSelector') {
      const matchers = out.matchers as { name: string; type: string; value: string }[];
      // Series without the label are none of it: machine!="" says that they have it.
      if (matchers.some((m) => m.name === label && !(m.type === '=' || m.type === '=~')))
        out.matchers = [...matchers.filter((m) => m.name !== label), { name: label, type: '=', value }];
    }
    return out;
  };
  return walk(n) as Node;
}

// ofAlert reports whether a series is that of an alert: what both have is the same.
export const ofAlert = (series: Labels, alert: Labels): boolean =>
  Object.entries(series).every(([k, v]) => k === '__name__' || !(k in alert) || alert[k] === v);

export interface Others {
  machine: FleetEvent[]; // other alerts of the machine
  rule: FleetEvent[]; // the same alert elsewhere
  tags: { tag: string; events: FleetEvent[] }[]; // alerts of machines that share a tag
}

// othersOf sorts the alerts of a time by what they have in common with one of them. site are the
// tags that its machine shares with few others.
export function othersOf(
  all: FleetEvent[],
  alert: { name: string; machine: string; text?: string },
  tagged: { tag: string; machines: ReadonlySet<string> }[],
): Others {
  const alerts = all.filter(isAlert);
  const names = (e: FleetEvent) => (e.machine ? [e.machine] : (e.machines ?? []));
  const here = alerts.filter((e) => names(e).includes(alert.machine) && e.alert !== alert.name);
  const rule = alerts.filter((e) => e.alert === alert.name && names(e).some((m) => m !== alert.machine));
  const seen = new Set([...here, ...rule]);
  return {
    machine: here,
    rule,
    tags: tagged
      .map(({ tag, machines }) => ({
        tag,
        events: alerts.filter(
          (e) => !seen.has(e) && names(e).some((m) => m !== alert.machine && machines.has(m)) && e.alert !== alert.name,
        ),
      }))
      .filter((t) => t.events.length),
  };
}

// siteTags are the tags that say where a machine is rather than what it is: those that the fewest
// other machines share, at most two.
export function siteTags(
  machine: string,
  rows: { name: string; tags?: string[] | null }[],
): { tag: string; machines: ReadonlySet<string> }[] {
  const own = rows.find((r) => r.name === machine)?.tags ?? [];
  return own
    .map((tag) => ({ tag, machines: new Set(rows.filter((r) => r.tags?.includes(tag)).map((r) => r.name)) }))
    .filter((t) => t.machines.size > 1 && t.machines.size < rows.length)
    .sort((a, b) => a.machines.size - b.machines.size)
    .slice(0, 2);
}

// unitOfMetric is what a metric's name says of its unit.
export function unitOfMetric(name: string, rate: boolean): Unit {
  const base = name.replace(/_(total|sum|count)$/, '');
  if (name.endsWith('_count')) return rate ? 'perSecond' : 'count';
  if (base.endsWith('_bytes')) return rate ? 'bytesps' : 'bytes';
  if (base.endsWith('_seconds')) return rate ? 'ratio' : 'seconds';
  if (base.endsWith('_celsius')) return 'celsius';
  if (base.endsWith('_hertz')) return 'hertz';
  if (base.endsWith('_volts')) return 'volts';
  if (base.endsWith('_ratio')) return 'ratio';
  return rate ? 'perSecond' : 'none';
}

// titleOf names a metric in words: without the exporter and the unit, and with its labels.
export function titleOf(m: Pick<Moved, 'metric' | 'labels'>): string {
  const words = m.metric
    .replace(/^(node|systemd|clanmon|nginx|pg|redis|probe)_/, '')
    .replace(/_(total|bytes_total|seconds_total|bytes|seconds|celsius|ratio)$/, '')
    .replace(/_(bytes|seconds)$/, '')
    .replaceAll('_', ' ');
  const labels = Object.entries(m.labels)
    .filter(([k]) => !['tags', 'type', 'fstype'].includes(k))
    .map(([, v]) => v)
    .filter(Boolean);
  return [words, ...labels].join(' · ');
}
