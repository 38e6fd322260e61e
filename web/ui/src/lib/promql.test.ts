import { expect, test } from 'vitest';
import { allOf, countQuery, head, labelDifference, partners, text, type Matching, type Node } from './promql';

const shift = { offset: 0, offsetExpr: null, timestamp: null, startOrEnd: null };
const sel = (name: string, ...m: [string, string, string][]): Node => ({
  type: 'vectorSelector',
  name,
  matchers: [
    ...m.map(([n, type, value]) => ({ name: n, type, value })),
    ...(name ? [{ name: '__name__', type: '=', value: name }] : []),
  ],
  ...shift,
});
const range = (n: Node, ms: number): Node =>
  ({ ...(n as object), type: 'matrixSelector', range: ms, rangeExpr: null }) as Node;
const rate = (n: Node): Node => ({ type: 'call', func: { name: 'rate', returnType: 'vector' }, args: [n] });
const on = (labels: string[], card: Matching['card'] = 'one-to-one', include: string[] = []): Matching => ({
  card,
  labels,
  on: true,
  include,
});

test('a tree is written as it would be typed', () => {
  const idle = { ...range(sel('node_cpu_seconds_total', ['mode', '=', 'idle']), 300000), offset: -90000 } as Node;
  const n: Node = {
    type: 'binaryExpr',
    op: '*',
    bool: false,
    matching: on(['machine'], 'many-to-one', ['os']),
    lhs: rate(idle),
    rhs: sel('info'),
  };
  expect(text(n)).toBe(
    'rate(node_cpu_seconds_total{mode="idle"}[5m] offset -1m30s) * on (machine) group_left (os) info',
  );
  expect(head(n)).toBe('… * on (machine) group_left (os) …');
  expect(
    text({
      type: 'aggregation',
      op: 'topk',
      param: { type: 'numberLiteral', val: '3' },
      grouping: ['my label'],
      without: true,
      expr: sel('', ['__name__', '=~', 'a"b'], ['weird name', '!=', '\\']),
    }),
  ).toBe('topk without ("my label") (3, {__name__=~"a\\"b", "weird name"!="\\\\"})');
  expect(text(sel('a.b', ['x', '=', 'y']))).toBe('{"a.b", x="y"}');
  expect(
    text({
      type: 'subquery',
      expr: sel('up'),
      range: 3600000,
      rangeExpr: null,
      step: 0,
      stepExpr: null,
      ...shift,
      timestamp: 1500,
    }),
  ).toBe('up[1h:] @ 1.500');
});

test('counting the series of a node', () => {
  expect(countQuery(sel('up'))).toBe('count(up)');
  expect(countQuery(range(sel('up'), 60000))).toBe('count(last_over_time(up[1m]))');
  expect(countQuery({ type: 'numberLiteral', val: '1' })).toBeUndefined();
  expect(allOf(range(sel('up', ['job', '=', 'node']), 60000))).toBe('up[1m]');
  expect(allOf(sel('up'))).toBeUndefined();
});

test('what is asked of two sides', () => {
  const p = partners({
    type: 'binaryExpr',
    op: '/',
    bool: false,
    matching: { card: 'one-to-one', labels: ['mode'], on: false, include: [] },
    lhs: sel('a'),
    rhs: sel('b'),
  });
  expect(p?.leftAlone).toBe('(a) unless ignoring (mode) (b)');
  expect(p?.rightTwice).toBe('count without (mode) (b) > 1');
  expect(
    partners({
      type: 'binaryExpr',
      op: '/',
      bool: false,
      matching: null,
      lhs: sel('a'),
      rhs: { type: 'numberLiteral', val: '2' },
    }),
  ).toBeUndefined();
});

test('labels that keep two sides apart', () => {
  const left = [
    { __name__: 'a', machine: 'x', cpu: '0' },
    { __name__: 'a', machine: 'y', cpu: '1' },
  ];
  const right = [{ __name__: 'b', machine: 'x', job: 'n' }];
  expect(labelDifference(left, right, { card: 'one-to-one', labels: [], on: false, include: [] })).toEqual([
    'cpu',
    'job',
  ]);
  expect(labelDifference(left, right, on(['machine']))).toEqual([]);
});
