// Node's, for the time zone of a test.
declare const process: { env: Record<string, string | undefined> };

import { expect, test } from 'vitest';
import type { Unit } from './format';
import { apart, axisRange, roundUp, timeLabels, timeSplits, valueLabel, valueSteps } from './axes';

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

test('a stack stands on zero, however much its lowest part is', () => {
  expect(axisRange(3.2, 3.9, {})[0]).toBeGreaterThan(2);
  expect(axisRange(3.2, 3.9, { stack: true })).toEqual([0, 5]);
});

test('an axis of memory ends near the memory', () => {
  const GiB = 2 ** 30;
  expect(axisRange(0, 64 * GiB, { min: 0, unit: 'bytes' })).toEqual([0, 64 * GiB * 1.03]);
  expect(axisRange(0, 62.7 * GiB, { min: 0, unit: 'bytes' })).toEqual([0, 64 * GiB]);
  expect(axisRange(0, 65 * GiB, { min: 0, unit: 'bytes' })).toEqual([0, 80 * GiB]);
  expect(axisRange(0, 1000, { unit: 'bytes' })).toEqual([0, 1024]);
});

// ticks are the lines of the grid as uPlot chooses them in a chart of this height.
function ticks([lo, hi]: [number, number], unit: Unit, height = 134): { values: number[]; step: number } {
  const step = valueSteps(unit).find((s) => (s / (hi - lo)) * height >= 27)!;
  const values = [];
  for (let i = Math.ceil(lo / step - 1e-9); i * step <= hi * (1 + 1e-9); i++)
    values.push(Number((i * step).toPrecision(12)));
  return { values, step };
}

test('labels of an axis never repeat', () => {
  expect([0.0116, 0.0118, 0.012].map((v) => valueLabel(v, 0.0002, 'none'))).toEqual(['0.0116', '0.0118', '0.012']);
  const units: Unit[] = ['none', 'count', 'ratio', 'bytes', 'bytesps', 'bitsps', 'seconds', 'celsius', 'perSecond'];
  for (const unit of units)
    for (const at of [1e-7, 0.0123, 0.5, 1, 7.77, 99.9, 119.5, 1023, 3601, 123456, 1e6, 3e9 + 7, 2 ** 40])
      for (const part of [1, 0.3, 0.01, 0.001])
        for (const stack of [false, true]) {
          const { values, step } = ticks(axisRange(at * (1 - part), at, { unit, stack }), unit);
          const labels = values.map((v) => valueLabel(v, step, unit));
          expect(new Set(labels).size, `${unit} ${at} ${part}: ${labels.join(', ')}`).toBe(labels.length);
          for (const l of labels) expect(l.length, l).toBeLessThan(18);
        }
});

test('edges of buckets that differ look different', () => {
  expect(apart([0.005, 0.01, 2.5, 10])).toEqual(['0.005', '0.01', '2.5', '10']);
  expect(apart([0.012207, 0.012453, 0.0127])).toEqual(['0.0122', '0.0125', '0.0127']);
  expect(apart([1, 1])).toEqual(['1', '1']);
});

test('neighbours on the axis have different labels', () => {
  expect([0, 0.0025, 0.005].map((v) => valueLabel(v, 0.0025, 'ratio'))).toEqual(['0.00 %', '0.25 %', '0.50 %']);
  expect(valueLabel(0.2, 0.2, 'ratio')).toBe('20 %');
  expect(valueLabel(512 * 2 ** 20, 2 ** 29, 'bytes')).toBe('512 MiB');
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
    expect(timeLabels(spring, 10800, false)).toEqual(['Mar 29 CET', '03:00 CEST', '06:00', '09:00', '12:00']);
    const minutes = timeSplits(utc('2026-03-29T00:30:00'), utc('2026-03-29T01:30:00'), 1800, false);
    expect(timeLabels(minutes, 1800, false)).toEqual(['01:30 CET', '03:00 CEST', '03:30']);
  } finally {
    if (zone === undefined) delete process.env.TZ;
    else process.env.TZ = zone;
  }
});

test('hours that come twice are told apart by the zone', () => {
  const zone = process.env.TZ;
  process.env.TZ = 'America/New_York';
  try {
    const s = timeSplits(utc('2026-11-01T05:00:00'), utc('2026-11-01T07:00:00'), 1800, false);
    expect(timeLabels(s, 1800, false)).toEqual(['01:00 EDT', '01:30', '01:00 EST', '01:30', '02:00']);
    const days = timeSplits(utc('2026-10-30T12:00:00'), utc('2026-11-03T12:00:00'), 86400, false);
    expect(timeLabels(days, 86400, false)).toEqual(['Oct 31', 'Nov 1', 'Nov 2', 'Nov 3']);
  } finally {
    if (zone === undefined) delete process.env.TZ;
    else process.env.TZ = zone;
  }
});
