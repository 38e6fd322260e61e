// The tree of an expression as /api/v1/parse_query gives it: its text, its
// parts, and the questions that explain what each part does.
import { durationText } from './time';

export type Node =
  | { type: 'aggregation'; op: string; expr: Node; param: Node | null; grouping: string[]; without: boolean }
  | { type: 'binaryExpr'; op: string; lhs: Node; rhs: Node; matching: Matching | null; bool: boolean }
  | { type: 'call'; func: { name: string; returnType: Kind }; args: Node[] }
  | ({ type: 'matrixSelector'; range: number; rangeExpr: Duration | null } & Selector)
  | ({
      type: 'subquery';
      expr: Node;
      range: number;
      rangeExpr: Duration | null;
      step: number;
      stepExpr: Duration | null;
    } & Shift)
  | { type: 'numberLiteral'; val: string }
  | { type: 'parenExpr'; expr: Node }
  | { type: 'stringLiteral'; val: string }
  | { type: 'unaryExpr'; op: string; expr: Node }
  | ({ type: 'vectorSelector' } & Selector)
  | { type: 'placeholder'; children: Node[] };

export type Kind = 'vector' | 'scalar' | 'matrix' | 'string';
export interface Matching {
  card: 'one-to-one' | 'many-to-one' | 'one-to-many' | 'many-to-many';
  labels: string[];
  on: boolean;
  include: string[];
  fillValues?: { lhs: number | null; rhs: number | null };
}
interface Shift {
  offset: number;
  offsetExpr: Duration | null;
  timestamp: number | null;
  startOrEnd: 'start' | 'end' | null;
}
interface Selector extends Shift {
  name: string;
  matchers: { name: string; type: string; value: string }[];
  anchored?: boolean;
  smoothed?: boolean;
}
type Duration =
  | { type: 'numberLiteral'; val: string; duration?: boolean }
  | { type: 'durationExpr'; op: string; lhs: Duration | null; rhs: Duration | null; wrapped: boolean };

const quoted = (s: string) => JSON.stringify(s);
const plain = /^[a-zA-Z_][a-zA-Z0-9_]*$/;
const labelText = (l: string) => (plain.test(l) ? l : quoted(l));
const labelList = (labels: string[]) => labels.map(labelText).join(', ');

function duration(ms: number): string {
  return ms % 1000 ? `${ms}ms` : durationText(ms / 1000);
}

function durationExpr(d: Duration | null): string {
  if (!d) return '';
  if (d.type === 'numberLiteral') return d.duration ? duration(Number(d.val) * 1000) : d.val;
  const text =
    d.op === 'step' || d.op === 'range'
      ? `${d.op}()`
      : d.op === 'min_of' || d.op === 'max_of'
        ? `${d.op.slice(0, 3)}(${durationExpr(d.lhs)}, ${durationExpr(d.rhs)})`
        : d.lhs
          ? `${durationExpr(d.lhs)} ${d.op} ${durationExpr(d.rhs)}`
          : `${d.op}${durationExpr(d.rhs)}`;
  return d.wrapped ? `(${text})` : text;
}

function shift(n: Shift): string {
  const at =
    n.timestamp !== null ? ` @ ${(n.timestamp / 1000).toFixed(3)}` : n.startOrEnd ? ` @ ${n.startOrEnd}()` : '';
  const offset = n.offsetExpr
    ? ` offset ${durationExpr(n.offsetExpr)}`
    : n.offset > 0
      ? ` offset ${duration(n.offset)}`
      : n.offset < 0
        ? ` offset -${duration(-n.offset)}`
        : '';
  return at + offset;
}

// selector writes the name and the matchers, without range and offset.
export function selector(n: Pick<Selector, 'name' | 'matchers'>): string {
  const simple = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(n.name);
  const matchers = n.matchers
    .filter((m) => !(n.name && m.name === '__name__' && m.type === '=' && m.value === n.name))
    .map((m) => `${labelText(m.name)}${m.type}${quoted(m.value)}`);
  if (n.name && !simple) matchers.unshift(quoted(n.name));
  return (simple ? n.name : '') + (matchers.length || !simple ? `{${matchers.join(', ')}}` : '');
}

const smoothness = (n: Selector) => (n.anchored ? ' anchored' : n.smoothed ? ' smoothed' : '');

export function grouping(n: Node): string {
  if (n.type === 'aggregation')
    return n.without
      ? ` without (${labelList(n.grouping)})`
      : n.grouping.length
        ? ` by (${labelList(n.grouping)})`
        : '';
  if (n.type !== 'binaryExpr') return '';
  const m = n.matching;
  let text = n.bool ? ' bool' : '';
  if (m && (m.on || m.labels.length)) text += ` ${m.on ? 'on' : 'ignoring'} (${labelList(m.labels)})`;
  if (m && (m.card === 'many-to-one' || m.card === 'one-to-many')) {
    if (!m.on && !m.labels.length) text += ' ignoring ()';
    text += ` ${m.card === 'many-to-one' ? 'group_left' : 'group_right'} (${labelList(m.include)})`;
  }
  const f = m?.fillValues;
  if (f && f.lhs !== null && f.lhs === f.rhs) text += ` fill (${f.lhs})`;
  else {
    if (f && f.lhs !== null) text += ` fill_left (${f.lhs})`;
    if (f && f.rhs !== null) text += ` fill_right (${f.rhs})`;
  }
  return text;
}

// text writes a node as PromQL.
export function text(n: Node): string {
  switch (n.type) {
    case 'aggregation':
      return `${n.op}${grouping(n)} (${n.param ? `${text(n.param)}, ` : ''}${text(n.expr)})`;
    case 'binaryExpr':
      return `${text(n.lhs)} ${n.op}${grouping(n)} ${text(n.rhs)}`;
    case 'call':
      return `${n.func.name}(${n.args.map(text).join(', ')})`;
    case 'vectorSelector':
      return selector(n) + smoothness(n) + shift(n);
    case 'matrixSelector':
      return `${selector(n)}[${n.rangeExpr ? durationExpr(n.rangeExpr) : duration(n.range)}]${smoothness(n)}${shift(n)}`;
    case 'subquery':
      return `${text(n.expr)}[${n.rangeExpr ? durationExpr(n.rangeExpr) : duration(n.range)}:${n.stepExpr ? durationExpr(n.stepExpr) : n.step ? duration(n.step) : ''}]${shift(n)}`;
    case 'numberLiteral':
      return n.val;
    case 'stringLiteral':
      return quoted(n.val);
    case 'parenExpr':
      return `(${text(n.expr)})`;
    case 'unaryExpr':
      return n.op + text(n.expr);
    case 'placeholder':
      return '…';
  }
}

// head is what a node itself does; its children say the rest.
export function head(n: Node): string {
  switch (n.type) {
    case 'aggregation':
      return `${n.op}${grouping(n)}${n.param ? ` (${text(n.param)}, …)` : ' (…)'}`;
    case 'binaryExpr':
      return `… ${n.op}${grouping(n)} …`;
    case 'call':
      return `${n.func.name}(${n.args.map((a) => (kindOf(a) === 'string' || a.type === 'numberLiteral' ? text(a) : '…')).join(', ')})`;
    case 'subquery':
      return `…[${duration(n.range)}:${n.step ? duration(n.step) : ''}]${shift(n)}`;
    case 'parenExpr':
      return '(…)';
    case 'unaryExpr':
      return `${n.op}…`;
    default:
      return text(n);
  }
}

export function children(n: Node): Node[] {
  switch (n.type) {
    case 'aggregation':
      return n.param && n.param.type !== 'numberLiteral' && n.param.type !== 'stringLiteral'
        ? [n.param, n.expr]
        : [n.expr];
    case 'binaryExpr':
      return [n.lhs, n.rhs];
    case 'call':
      return n.args.filter((a) => a.type !== 'numberLiteral' && a.type !== 'stringLiteral');
    case 'subquery':
    case 'parenExpr':
    case 'unaryExpr':
      return [n.expr];
    default:
      return [];
  }
}

export function kindOf(n: Node): Kind {
  switch (n.type) {
    case 'aggregation':
    case 'vectorSelector':
      return 'vector';
    case 'matrixSelector':
    case 'subquery':
      return 'matrix';
    case 'numberLiteral':
      return 'scalar';
    case 'stringLiteral':
      return 'string';
    case 'call':
      return n.func.returnType;
    case 'binaryExpr':
      return kindOf(n.lhs) === 'scalar' && kindOf(n.rhs) === 'scalar' ? 'scalar' : 'vector';
    case 'parenExpr':
    case 'unaryExpr':
      return kindOf(n.expr);
    case 'placeholder':
      return 'vector';
  }
}

// countQuery asks how many series a node gives; undefined for what has none.
export function countQuery(n: Node): string | undefined {
  switch (kindOf(n)) {
    case 'vector':
      return `count(${text(n)})`;
    case 'matrix':
      return n.type === 'parenExpr' ? countQuery(n.expr) : `count(last_over_time(${text(n)}))`;
    default:
      return undefined;
  }
}

// allOf is a selector's metric without its other matchers, to compare with.
export function allOf(n: Node): string | undefined {
  if (n.type !== 'vectorSelector' && n.type !== 'matrixSelector') return undefined;
  if (!n.name || n.matchers.length < 2) return undefined;
  return text({ ...n, matchers: n.matchers.filter((m) => m.name === '__name__') });
}

// filters is what a node does to series: an operator that keeps some of them.
export function filters(n: Node): boolean {
  return n.type === 'binaryExpr' && !n.bool && ['==', '!=', '>', '<', '>=', '<=', 'and', 'unless'].includes(n.op);
}

// Partners: the questions about two sides that are matched by labels.
export interface Partners {
  key: string; // how the sides are matched, in words
  leftAlone: string; // series without a partner
  rightAlone: string;
  leftTwice: string; // groups with more than one series
  rightTwice: string;
  set: boolean; // and, or, unless: many may match many
  card: Matching['card'];
}

export function partners(n: Node): Partners | undefined {
  if (n.type !== 'binaryExpr' || !n.matching || kindOf(n.lhs) !== 'vector' || kindOf(n.rhs) !== 'vector')
    return undefined;
  const m = n.matching;
  const by = m.on ? `on (${labelList(m.labels)})` : `ignoring (${labelList(m.labels)})`;
  const group = m.on ? `by (${labelList(m.labels)})` : `without (${labelList(m.labels)})`;
  const l = `(${text(n.lhs)})`;
  const r = `(${text(n.rhs)})`;
  return {
    key: m.on
      ? m.labels.length
        ? `by the ${m.labels.length === 1 ? 'label' : 'labels'} ${m.labels.join(', ')}`
        : 'as one group'
      : m.labels.length
        ? `by all labels except ${m.labels.join(', ')}`
        : 'by all labels',
    leftAlone: `${l} unless ${by} ${r}`,
    rightAlone: `${r} unless ${by} ${l}`,
    leftTwice: `count ${group} ${l} > 1`,
    rightTwice: `count ${group} ${r} > 1`,
    set: ['and', 'or', 'unless'].includes(n.op),
    card: m.card,
  };
}

// labelDifference names the labels of either side that keep series from
// matching: there on one side only, or never with a common value.
export function labelDifference(
  left: Record<string, string>[],
  right: Record<string, string>[],
  matching: Matching,
): string[] {
  const values = (all: Record<string, string>[], name: string) => new Set(all.map((l) => l[name] ?? ''));
  const names = matching.on
    ? matching.labels
    : [...new Set([...left, ...right].flatMap((l) => Object.keys(l)))].filter(
        (l) => l !== '__name__' && !matching.labels.includes(l),
      );
  return names.filter((name) => {
    const a = values(left, name);
    return ![...values(right, name)].some((v) => a.has(v));
  });
}
