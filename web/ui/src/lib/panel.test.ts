import { expect, test } from 'vitest';
import { filled, filledPanel, legendOf, named, panelOf } from './panel';

test('variables are filled in, escaped in expressions', () => {
  expect(filled('up{machine=~"$machine"} and ${machine}x', { machine: 'a' })).toBe('up{machine=~"a"} and ax');
  expect(filled('up{machine=~"$machine"}', { machine: 'a\\.b"' }, true)).toBe('up{machine=~"a\\\\.b\\""}');
  expect(filled('rate(x[$__rate_interval]) + $unknown + rate(x[$rate])', {})).toBe(
    'rate(x[$rate]) + $unknown + rate(x[$rate])',
  );
  const p = filledPanel(
    { title: 'CPU of $m', unit: 'ratio', queries: [{ expr: 'x{m="$m"}', legend: '$m {{cpu}}' }] },
    { m: 'a' },
  );
  expect(p).toMatchObject({ title: 'CPU of a', queries: [{ expr: 'x{m="a"}', legend: 'a {{cpu}}' }] });
  expect(filled('$constructor', {})).toBe('$constructor');
});

test('a legend names series by their labels', () => {
  expect(named('{{ device }} in', { device: 'eth0' })).toBe('eth0 in');
  expect(named('{{gone}}', { __name__: 'up', job: 'node' })).toBe('up{job="node"}');
});

test('names become the legend that gives the same names', () => {
  const of = (...l: [string, Record<string, string>][]) => legendOf(l.map(([name, labels]) => ({ name, labels })));
  expect(of(['received', { machine: 'a' }])).toBe('received');
  expect(of(['user', { mode: 'user' }], ['system', { mode: 'system' }])).toBe('{{mode}}');
  expect(of(['eth0 in', { device: 'eth0' }], ['eth1 in', { device: 'eth1' }])).toBe('{{device}} in');
  expect(of(['x 1', { type: 'x', zone: '1' }], ['y 2', { type: 'y', zone: '2' }])).toBe('{{type}} {{zone}}');
  expect(of(['stolen', { mode: 'steal' }], ['waiting for I/O', { mode: 'iowait' }])).toBe('{{mode}}');
  expect(of()).toBeUndefined();
});

test('a chart as data has all that it draws, and survives JSON', () => {
  const chart = {
    title: 'Network',
    unit: 'bitsps',
    stack: true,
    min: 0,
    thresholds: [{ value: 5, label: 'limit', kind: 'warn' as const }],
    queries: [
      { expr: 'in[$rate]', name: () => 'received' },
      { expr: 'out[$rate]', name: () => 'sent', negate: true, line: true },
    ],
  };
  const p = panelOf(chart, []);
  expect(p).toEqual({
    title: 'Network',
    unit: 'bitsps',
    kind: 'stacked',
    min: 0,
    thresholds: chart.thresholds,
    queries: [
      { expr: 'in[$rate]', legend: 'received' },
      { expr: 'out[$rate]', legend: 'sent', negate: true, line: true },
    ],
  });
  expect(JSON.parse(JSON.stringify(p))).toEqual(p);
});
