import { expect, test } from 'vitest';
import { heatOf } from './heatmap';

const g = { start: 0, end: 20, step: 10 };

test('classic buckets give up what lies below them', () => {
  const heat = heatOf(
    [
      {
        metric: { le: '+Inf' },
        values: [
          [0, '10'],
          [10, '12'],
        ],
      },
      {
        metric: { le: '0.1' },
        values: [
          [0, '3'],
          [10, '3'],
        ],
      },
      { metric: { le: '1', job: 'a' }, values: [[0, '4']] },
      {
        metric: { le: '1', job: 'b' },
        values: [
          [0, '5'],
          [10, '7'],
        ],
      },
    ],
    g,
  )!;
  expect(heat.times).toEqual([0, 10, 20]);
  expect(heat.rows).toEqual([
    { low: 0, high: 0.1 },
    { low: 0.1, high: 1 },
    { low: 1, high: Infinity },
  ]);
  expect(heat.cells).toEqual([
    [3, 3, null],
    [6, 4, null],
    [1, 5, null],
  ]);
  expect(heat.max).toBe(6);
});

test('native histograms meet in one grid', () => {
  const h = (...b: [string, string, string][]) => ({
    count: '1',
    sum: '1',
    buckets: b.map(([l, u, n]) => [0, l, u, n] as [number, string, string, string]),
  });
  const heat = heatOf(
    [
      {
        metric: {},
        histograms: [
          [0, h(['1', '2', '4'])],
          [20, h(['2', '4', '1'], ['1', '2', '2'])],
        ],
      },
      { metric: { x: 'y' }, histograms: [[0, h(['1', '2', '1'])]] },
    ],
    g,
  )!;
  expect(heat.rows).toEqual([
    { low: 1, high: 2 },
    { low: 2, high: 4 },
  ]);
  expect(heat.cells).toEqual([
    [5, null, 2],
    [null, null, 1],
  ]);
});

test('what is no histogram has no heatmap', () => {
  expect(
    heatOf(
      [
        { metric: { job: 'a' }, values: [[0, '1']] },
        { metric: { job: 'b' }, values: [[0, '1']] },
      ],
      g,
    ),
  ).toBeUndefined();
});
