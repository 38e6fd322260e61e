import { expect, test } from 'vitest';
import { exemplarsOf } from './exemplars';

const e = (timestamp: number, value: string, id = '') => ({ labels: { trace_id: id }, value, timestamp });

test('exemplars of all series come as one list, the latest first', () => {
  const got = exemplarsOf([
    { seriesLabels: { le: '1' }, exemplars: [e(10, '0.5', 'a'), e(30, 'NaN', 'b')] },
    { seriesLabels: { le: '5' }, exemplars: [e(20, '3', 'c')] },
  ]);
  expect(got).toEqual([
    { time: 20, value: 3, labels: { trace_id: 'c' }, series: { le: '5' } },
    { time: 10, value: 0.5, labels: { trace_id: 'a' }, series: { le: '1' } },
  ]);
});

test('of too many the largest of each moment stay', () => {
  const many = Array.from({ length: 5000 }, (_, i) => e(i, i === 1234 ? '99' : '1', String(i)));
  const got = exemplarsOf([{ seriesLabels: {}, exemplars: many }], 100);
  expect(got.length).toBeLessThanOrEqual(100);
  expect(got.some((x) => x.labels.trace_id === '1234')).toBe(true);
  expect(exemplarsOf([{ seriesLabels: {}, exemplars: [e(1, '1'), e(1, '2')] }], 1)).toHaveLength(1);
});
