import { expect, test } from 'vitest';
import type { FleetEvent } from '../api/types/events';
import { conditionOf, narrowed, ofAlert, othersOf, siteTags, titleOf, unitOfMetric } from './incident';
import { type Node, text } from './promql';

const vector = (name: string, ...matchers: [string, string, string][]): Node => ({
  type: 'vectorSelector',
  name,
  matchers: matchers.map(([n, type, value]) => ({ name: n, type, value })),
  offset: 0,
  offsetExpr: null,
  timestamp: null,
  startOrEnd: null,
});
const number = (val: string): Node => ({ type: 'numberLiteral', val });
const binary = (lhs: Node, op: string, rhs: Node): Node => ({
  type: 'binaryExpr',
  op,
  lhs,
  rhs,
  matching: null,
  bool: false,
});

test('a rule compares something with a limit', () => {
  const full = binary(vector('used'), '>', number('0.9'));
  expect(conditionOf(full)).toEqual({ expr: 'used', limit: 0.9, above: true });
  // What follows narrows it; what is before the comparison does not matter.
  expect(conditionOf(binary(full, 'unless', vector('silent')))).toEqual({ expr: 'used', limit: 0.9, above: true });
  expect(conditionOf({ type: 'parenExpr', expr: binary(vector('up'), 'and', full) })?.expr).toBe('used');
  expect(conditionOf(binary(number('5'), '<', vector('x')))).toEqual({ expr: 'x', limit: 5, above: true });
  expect(conditionOf(binary(vector('x'), '<', binary(number('4'), '*', number('60'))))).toEqual({
    expr: 'x',
    limit: 240,
    above: false,
  });
  expect(conditionOf(binary(number('1'), '-', binary(vector('free'), '<', number('0.03'))))).toEqual({
    expr: 'free',
    limit: 0.03,
    above: false,
  });
  expect(conditionOf(binary(vector('a'), '>', vector('b')))).toBeUndefined();
  expect(conditionOf(vector('a'))).toBeUndefined();
});

test('one machine is asked for, where a rule asks for all', () => {
  const all = binary(vector('a', ['machine', '!=', '']), '/', vector('b', ['machine', '!=', ''], ['x', '=', 'y']));
  expect(text(narrowed(all, 'machine', 'web"1'))).toBe('a{machine="web\\"1"} / b{x="y", machine="web\\"1"}');
  expect(text(narrowed(vector('a', ['machine', '=', 'db1']), 'machine', 'web1'))).toBe('a{machine="db1"}');
  expect(text(narrowed(vector('info'), 'machine', 'web1'))).toBe('info');
});

test('a series is that of the alert if it contradicts in no label', () => {
  const alert = { alertname: 'FilesystemFull', machine: 'a', mountpoint: '/' };
  expect(ofAlert({ machine: 'a', mountpoint: '/', device: 'vda' }, alert)).toBe(true);
  expect(ofAlert({ machine: 'a', mountpoint: '/srv' }, alert)).toBe(false);
});

const event = (machine: string, alert: string, more: Partial<FleetEvent> = {}): FleetEvent => ({
  time: 1,
  end: null,
  kind: 'alert',
  machine,
  count: 1,
  text: alert,
  alert,
  ...more,
});

test('other alerts are of the machine, the rule, or the site', () => {
  const fleet = [
    { name: 'a', tags: ['nixos', 'fra'] },
    { name: 'b', tags: ['nixos', 'fra'] },
    { name: 'c', tags: ['nixos', 'hel'] },
    { name: 'd', tags: ['nixos', 'hel'] },
  ];
  // What all have says nothing of where it is.
  expect(siteTags('a', fleet).map((t) => t.tag)).toEqual(['fra']);
  const all = [
    event('a', 'Full'),
    event('a', 'Busy'),
    event('b', 'Busy'),
    event('c', 'Full'),
    event('d', 'Busy'),
    event('', 'Full', { machines: ['x', 'y', 'z'], count: 9 }),
    event('b', 'Rebooted', { kind: 'reboot' }),
  ];
  const o = othersOf(all, { name: 'Full', machine: 'a' }, siteTags('a', fleet));
  expect(o.machine).toEqual([all[1]]);
  expect(o.rule).toEqual([all[3], all[5]]);
  expect(o.tags).toEqual([{ tag: 'fra', events: [all[2]] }]);
});

test('a metric is named in words, with the unit of its name', () => {
  expect(titleOf({ metric: 'node_disk_written_bytes_total', labels: { device: 'sda' } })).toBe('disk written · sda');
  expect(unitOfMetric('node_disk_written_bytes_total', true)).toBe('bytesps');
  expect(unitOfMetric('node_memory_MemAvailable_bytes', false)).toBe('bytes');
  expect(unitOfMetric('node_cpu_seconds_total', true)).toBe('ratio');
  expect(unitOfMetric('node_load1', false)).toBe('none');
  expect(unitOfMetric('node_vmstat_pgfault', true)).toBe('perSecond');
});
