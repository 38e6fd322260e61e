import { expect, test } from 'vitest';
import { exprOf, MOST, overall, PANELS, wayOf, worstQuery } from './compare';

const cpu = PANELS[0]!.queries[0]!.expr;

test('one expression asks all machines', () => {
  expect(exprOf('up{$m}', [{ name: 'a' }, { name: 'b.c' }])).toBe('up{machine=~"a|b\\\\.c"}');
});

test('a machine without the label is selected by its own selector, and named', () => {
  expect(exprOf('up{$m}', [{ name: 'a' }, { name: 'b', labelled: false, selector: 'instance="b:1"' }])).toBe(
    'up{machine=~"a"} or label_replace(up{instance="b:1"}, "machine", "b", "", "")',
  );
});

test('of many machines the CPU is the recorded one', () => {
  const many = Array.from({ length: MOST + 1 }, (_, i) => ({ name: `m${i}` }));
  expect(exprOf(cpu, many)).toMatch(/^machine:cpu_used:ratio\{machine=~"m0\|/);
  expect(exprOf(cpu, many.slice(1))).toContain('node_cpu_seconds_total');
});

test('a tag is the worst five unless its machines fit', () => {
  expect(wayOf('', 3)).toBe('each');
  expect(wayOf('', 42)).toBe('worst');
  expect(wayOf('each', 42)).toBe('worst');
  expect(wayOf('mean', 42)).toBe('mean');
  expect(wayOf('constructor', 2)).toBe('each');
  expect(overall('x', 'mean')).toBe('avg(x)');
  expect(overall('x', 'each')).toBe('x');
  expect(worstQuery('x', 3600)).toBe('topk(5, avg_over_time((x)[3600s:60s]))');
});

test('each chart gives one series a machine', () => {
  for (const p of PANELS) for (const q of p.queries) expect(q.expr, p.title).toMatch(/by \(machine\)/);
});
