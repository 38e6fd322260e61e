// Node's, for the time zone of a test.
declare const process: { env: Record<string, string | undefined> };

import { expect, test } from 'vitest';
import {
  alone,
  axisRange,
  combined,
  exprFor,
  mix,
  roundUp,
  seriesName,
  split,
  stackFrame,
  timeLabels,
  timeSplits,
  valueLabel,
} from './chart';

test('stacked lines add up; a gap is only a gap where all have one', () => {
  const v = (values: (number | null)[]) => ({ values });
  expect(stackFrame([v([1, null, null]), v([2, 2, null])])).toEqual([
    [1, null, null],
    [3, 2, null],
  ]);
  expect(stackFrame([v([1]), { values: [9], line: true }, { values: [-2], negate: true }, v([2])])).toEqual([
    [1],
    [9],
    [-2],
    [3],
  ]);
});

test('names of series', () => {
  expect(seriesName({ __name__: 'up', job: 'a"b', x: '1' }, { x: '1' })).toBe('up{job="a\\"b"}');
  expect(seriesName({})).toBe('{}');
});

test('windows of rates hold at least four scrapes and at least a step', () => {
  expect(exprFor('rate(x[$rate])', 15)).toBe('rate(x[60s])');
  expect(exprFor('rate(x[$rate]) > $step', 120, 60)).toBe('rate(x[240s]) > 120s');
  expect(exprFor('rate(x[$rate])', 3600)).toBe('rate(x[3600s])');
});

test('queries of one chart are asked in one request and told apart again', () => {
  expect(combined(['up'])).toBe('up');
  expect(combined(['a', 'b'])).toBe('label_replace(a, "_q", "0", "", "") or label_replace(b, "_q", "1", "", "")');
  expect(split({ x: '1', _q: '1' })).toEqual({ query: 1, labels: { x: '1' } });
  expect(split({ x: '1' })).toEqual({ query: 0, labels: { x: '1' } });
});

test('axes end at round numbers and stay while the values fit', () => {
  expect(roundUp(0.0131)).toBeCloseTo(0.015);
  expect(roundUp(1000)).toBe(1000);
  expect(roundUp(700 * 2 ** 20, 'bytes')).toBe(768 * 2 ** 20);
  expect(axisRange(0, 0.93, { min: 0, max: 1, unit: 'ratio' })).toEqual([0, 1]);
  expect(axisRange(0, 1.02, { min: 0, max: 1, unit: 'ratio' })).toEqual([0, 1]);
  expect(axisRange(0, 0.98, { max: 0.05, unit: 'ratio' })).toEqual([0, 1]);
  expect(axisRange(0, 1.4, { max: 1, unit: 'ratio' })).toEqual([0, 1.5]);
  expect(axisRange(0, 7, {})).toEqual([0, 8]);
  expect(axisRange(0, 7, { old: [0, 10] })).toEqual([0, 10]);
  expect(axisRange(0, 1, { old: [0, 10] })).toEqual([0, 1.5]);
  expect(axisRange(0, 12, { old: [0, 10] })).toEqual([0, 15]);
  expect(axisRange(-3, 7, {})).toEqual([-4, 8]);
  expect(axisRange(0, 0, {})).toEqual([0, 1]);
  const [a, b] = axisRange(41, 44, { unit: 'celsius' });
  expect(a).toBeGreaterThan(35);
  expect(b).toBeLessThan(50);
});

test('neighbours on the axis have different labels', () => {
  expect([0, 0.0025, 0.005].map((v) => valueLabel(v, 0.0025, 'ratio'))).toEqual(['0.00 %', '0.25 %', '0.50 %']);
  expect(valueLabel(0.2, 0.2, 'ratio')).toBe('20 %');
  expect(valueLabel(512 * 2 ** 20, 2 ** 29, 'bytes')).toBe('512 MiB');
});

test('a point without neighbours is seen', () => {
  expect(alone([1, null, 2, 3, null, 4])).toEqual([0, 5]);
});

const utc = (s: string) => Date.parse(`${s}Z`) / 1000;

test('lines of the time axis, UTC', () => {
  const s = timeSplits(utc('2026-11-24T22:50:00'), utc('2026-11-25T02:10:00'), 3600, true);
  expect(timeLabels(s, 3600, true)).toEqual(['23:00', 'Nov 25', '01:00', '02:00']);
  expect(
    timeLabels(timeSplits(utc('2025-11-20T00:00:00'), utc('2026-03-02T00:00:00'), 30 * 86400, true), 30 * 86400, true),
  ).toEqual(['Dec', '2026', 'Feb', 'Mar']);
  // A line of a two-day grid stays where it is while the range moves on.
  expect(timeSplits(utc('2026-11-01T05:00:00'), utc('2026-11-09T05:00:00'), 2 * 86400, true).slice(1)).toEqual(
    timeSplits(utc('2026-11-03T05:00:00'), utc('2026-11-09T05:00:00'), 2 * 86400, true),
  );
});

test('days with 23 and 25 hours begin at midnight and keep round hours', () => {
  const zone = process.env.TZ;
  process.env.TZ = 'Europe/Berlin';
  try {
    // Summer time ends on 2026-10-25 at 03:00, begins on 2026-03-29 at 02:00.
    const days = timeSplits(utc('2026-10-23T12:00:00'), utc('2026-10-28T12:00:00'), 86400, false);
    expect(timeLabels(days, 86400, false)).toEqual(['Oct 24', 'Oct 25', 'Oct 26', 'Oct 27', 'Oct 28']);
    expect(days.map((t, i) => (i ? (t - days[i - 1]!) / 3600 : 24))).toEqual([24, 24, 25, 24, 24]);
    const spring = timeSplits(utc('2026-03-28T23:00:00'), utc('2026-03-29T10:00:00'), 10800, false);
    expect(timeLabels(spring, 10800, false)).toEqual(['Mar 29', '03:00', '06:00', '09:00', '12:00']);
    const minutes = timeSplits(utc('2026-03-29T00:30:00'), utc('2026-03-29T01:30:00'), 1800, false);
    expect(timeLabels(minutes, 1800, false)).toEqual(['01:30', '03:00', '03:30']);
  } finally {
    if (zone === undefined) delete process.env.TZ;
    else process.env.TZ = zone;
  }
});

test('colours are mixed by part', () => {
  expect(mix('#0072b2', '#ffffff', 0.5)).toBe('#80b9d9');
  expect(mix('#0072b2', '#ffffff', 0)).toBe('#0072b2');
});
