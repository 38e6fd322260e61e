import { expect, test } from 'vitest';
import { csv, ownColumns, tableOf } from './result';

const vector = tableOf({
  resultType: 'vector',
  result: [
    { metric: { zone: 'a', __name__: 'up', job: 'node', machine: 'x' }, value: [1, '1'] },
    { metric: { __name__: 'up', job: 'node', machine: '=cmd("y")', extra: 'long value' }, value: [1, 'NaN'] },
    { metric: { __name__: 'up', job: 'node', machine: 'z' }, histogram: [1, { count: '3', sum: '4.5' }] },
  ],
});

test('labels that differ are columns, those that do not are said once', () => {
  expect(vector.common).toEqual({ __name__: 'up', job: 'node' });
  expect(vector.labels).toEqual([
    { name: 'machine', width: 9, rows: 3 },
    { name: 'extra', width: 10, rows: 1 },
    { name: 'zone', width: 6, rows: 1 },
  ]);
  expect(vector.rows[1]?.number).toBeNaN();
  expect(vector.rows[2]).toMatchObject({ number: 3, histogram: { sum: '4.5' } });
  expect(vector.histograms).toBe(true);
});

test('one row keeps its labels', () => {
  const t = tableOf({ resultType: 'vector', result: [{ metric: { job: 'node' }, value: [1, '2'] }] });
  expect(t.labels.map((l) => l.name)).toEqual(['job']);
  expect(t.common).toEqual({});
});

test('scalars, and the points of a matrix', () => {
  expect(tableOf({ resultType: 'scalar', result: [1, '42'] }).rows[0]).toMatchObject({ value: '42', number: 42 });
  const t = tableOf({
    resultType: 'matrix',
    result: [
      {
        metric: { a: 'b' },
        values: [
          [1, '5'],
          [2, '6'],
        ],
      },
    ],
  });
  expect(t.rows[0]).toMatchObject({ points: 2, value: '6' });
  expect(csv(t)).toBe('a,time,value\nb,1,5\nb,2,6\n');
});

test('CSV quotes, and starts no formula', () => {
  expect(csv(vector).split('\n')[2]).toBe('up,node,"\'=cmd(""y"")",long value,,NaN');
});

test('rare labels share a column', () => {
  expect(ownColumns(vector, [], 12).rest).toEqual([]);
  expect(ownColumns(vector, [], 2)).toEqual({ own: [], rest: ['machine', 'extra', 'zone'] });
  const t = { ...vector, labels: ['a', 'b', 'c', 'd'].map((name, i) => ({ name, width: 3, rows: i })) };
  expect(ownColumns(t, ['d'], 3).own.map((l) => l.name)).toEqual(['a', 'b', 'c']);
  expect(ownColumns(t, [], 3)).toEqual({ own: [t.labels[3]], rest: ['a', 'b', 'c'] });
});
