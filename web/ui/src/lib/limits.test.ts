import { expect, test } from 'vitest';
import type { AlertRule } from '../api/types/alerts';
import type { Line } from './chart';
import { against, direct, inSight, joint, limiting, memory, ofTotal, space, used, valued } from './limits';
import type { Node } from './promql';

const v = (name: string): Node => ({
  type: 'vectorSelector',
  name,
  matchers: [{ name: 'machine', type: '!=', value: '' }],
  offset: 0,
  offsetExpr: null,
  timestamp: null,
  startOrEnd: null,
});
const n = (val: number): Node => ({ type: 'numberLiteral', val: String(val) });
const op = (lhs: Node, o: string, rhs: Node): Node => ({
  type: 'binaryExpr',
  op: o,
  lhs,
  rhs,
  matching: null,
  bool: false,
});
const paren = (expr: Node): Node => ({ type: 'parenExpr', expr });
const min = (expr: Node): Node => ({ type: 'aggregation', op: 'min', expr, param: null, grouping: [], without: false });

// As the server has the rules, with thresholds that somebody has changed.
const trees: [string, string, Node][] = [
  [
    'FilesystemFull',
    '{{ if eq $labels.x "y" }}warning{{ else }}critical{{ end }}',
    op(n(1), '-', paren(op(v('volume:free:ratio'), '<', n(0.07)))),
  ],
  [
    'FilesystemAlmostFull',
    'warning',
    op(
      op(n(1), '-', paren(op(op(v('volume:free:ratio'), '<', n(0.2)), 'and', op(v('volume:avail:bytes'), '<', n(50))))),
      'unless',
      v('ALERTS'),
    ),
  ],
  [
    'InodesAlmostGone',
    'warning',
    min(
      op(
        op(op(v('node_filesystem_files_free'), '/', paren(op(v('node_filesystem_files'), '>', n(0)))), '<', n(0.05)),
        'and',
        v('x'),
      ),
    ),
  ],
  [
    'MemoryAlmostGone',
    'warning',
    op(
      op(op(paren(v('node_memory_MemAvailable_bytes')), '/', v('node_memory_MemTotal_bytes')), '<', n(0.05)),
      'and',
      op(v('node_memory_MemAvailable_bytes'), '<', n(30)),
    ),
  ],
  ['TooHot', 'critical', op(v('temp'), '>=', paren(op(op(v('crit'), '>', n(40)), '<', n(150))))],
  ['RedisMemoryAlmostGone', 'info', op(op(v('redis_memory_used_bytes'), '/', v('max')), '>', n(0.9))],
];
const rules = trees.map(
  ([name, severity], i): AlertRule => ({ name, query: `q${i}`, duration: 300, labels: { severity }, health: 'ok' }),
);
const all = limiting(
  rules,
  trees.map(([, , t]) => paren(t)).reduce((a, b) => op(a, 'or', b)),
);

const total = (name: string, ...values: (number | null)[]): Line => ({
  name,
  values,
  labels: {},
  query: 0,
  negate: false,
  colour: '',
});
const short = (l: { rule: string; label: string; value: number; kind: string }[]) =>
  l.map((x) => `${x.rule} ${x.label} ${Number(x.value.toFixed(4))} ${x.kind}`);

test('one request parses all rules, and each gets its own part', () => {
  expect(joint(rules.slice(0, 2))).toBe('(q0) or (q1)');
  expect(all.map((r) => [r.name, r.all.length])).toEqual([
    ['FilesystemFull', 1],
    ['FilesystemAlmostFull', 2],
    ['InodesAlmostGone', 1],
    ['MemoryAlmostGone', 2],
    ['TooHot', 1],
    ['RedisMemoryAlmostGone', 1],
  ]);
  expect(limiting(rules.slice(0, 1), paren(trees[0]![2])).map((r) => r.all[0]?.limit)).toEqual([0.07]);
});

test('a chart of what is used has the limit of what is left', () => {
  expect(short(used(all, 'InodesAlmostGone', /^node_filesystem_files_free/))).toEqual([
    'InodesAlmostGone above 0.95 warn',
  ]);
  expect(used(all, 'InodesAlmostGone', /^node_filesystem_files_free/)[0]!.title).toBe(
    'Alert InodesAlmostGone fires after 5 min above this value',
  );
  expect(direct(all, 'InodesAlmostGone', /^something_else/)).toEqual([]);
  expect(direct(all, 'NotThere', /./)).toEqual([]);
});

test('the limit of a large file system is in bytes', () => {
  expect(short(space(all, [{ mountpoint: '/', size: 100 }]))).toEqual([
    'FilesystemAlmostFull above 0.8 warn',
    'FilesystemFull above 0.93 crit',
  ]);
  expect(
    short(space(all, [{ mountpoint: '/', size: 100 }, { mountpoint: '/data', size: 1000 }, { mountpoint: '/x' }])),
  ).toEqual([
    'FilesystemAlmostFull / above 0.8 warn',
    'FilesystemAlmostFull /data above 0.95 warn',
    'FilesystemFull above 0.93 crit',
  ]);
  expect(short(space(all, []))).toEqual(['FilesystemFull above 0.93 crit']);
});

test('memory has the limit that is reached last', () => {
  expect(short(memory(all, [total('used', 1), total('total', 100, null)]))).toEqual([
    'MemoryAlmostGone used above 95 warn',
  ]);
  expect(short(memory(all, [total('total', 1000)]))).toEqual(['MemoryAlmostGone used above 970 warn']);
  expect(memory(all, [total('used', 1)])).toEqual([]);
});

test('a part of a total, and what a machine says itself', () => {
  expect(
    short(ofTotal(all, 'RedisMemoryAlmostGone', /^redis_memory_used_bytes/, [total('limit', 10, 20)], 'limit')),
  ).toEqual(['RedisMemoryAlmostGone above 18 info']);
  expect(ofTotal(all, 'RedisMemoryAlmostGone', /^redis/, [total('limit', null)], 'limit')).toEqual([]);
  expect(against(all, 'TooHot', 'a')).toBe('(crit{machine="a"} > 40 < 150)');
  expect(against(all, 'FilesystemFull', 'a')).toBeUndefined();
  expect(short(valued(all, 'TooHot', [100, 90, 100]))).toEqual(['TooHot above 90 crit', 'TooHot above 100 crit']);
  expect(direct(all, 'TooHot', /^temp/)).toEqual([]);
});

test('a limit far from the lines takes no room', () => {
  const limits = direct(all, 'RedisMemoryAlmostGone', /^redis/); // 0.9
  expect(inSight(limits, [total('a', 0.1, null, 0.2)], {})).toEqual([]);
  expect(inSight(limits, [total('a', 0.1, 0.31)], {})).toHaveLength(1);
  expect(inSight(limits, [total('a', 0.1)], { max: 1 })).toHaveLength(1);
  const two = [total('a', 0.2), total('b', 0.2)];
  expect(inSight(limits, two, {})).toEqual([]);
  expect(inSight(limits, two, { stack: true })).toHaveLength(1);
});
