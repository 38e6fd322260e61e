import { expect, test } from 'vitest';
import { RangeCache } from './rangeCache';

const series = (name: string, from: number, to: number, step: number, v = 1) => {
  const values: [number, string][] = [];
  for (let t = from; t <= to; t += step) values.push([t, String(v)]);
  return { metric: { name }, values };
};

test('what was forgotten while its continuation was on its way is asked for anew', () => {
  const c = new RangeCache(1);
  const [old, now] = [
    { start: 0, end: 100, step: 10 },
    { start: 10, end: 110, step: 10 },
  ];
  c.put('a', old, old, []);
  const asked = c.missing('a', now);
  expect(asked.start).toBeGreaterThan(now.start);
  c.put('b', old, old, []); // takes the place of a
  c.put('a', now, asked, [{ metric: { m: 'x' }, values: [[110, '1']] }]);
  expect(c.missing('a', { start: 20, end: 120, step: 10 }).start).toBe(20);
});

test('a refresh asks only for the steps that are new, and the last ones again', () => {
  const c = new RangeCache();
  const first = { start: 0, end: 3600, step: 60 };
  expect(c.missing('up', first)).toEqual(first);
  c.put('up', first, first, [series('a', 0, 3600, 60)]);
  const second = { start: 120, end: 3720, step: 60 };
  const missing = c.missing('up', second);
  expect(missing).toEqual({ start: 3540, end: 3720, step: 60 });
  const frame = c.put('up', second, missing, [series('a', 3540, 3720, 60, 2), series('b', 3720, 3720, 60)]);
  expect(frame.times).toHaveLength(61);
  expect(frame.times[0]).toBe(120);
  const [a, b] = frame.series;
  expect(a!.values.slice(0, 3)).toEqual([1, 1, 1]);
  expect(a!.values.slice(-4)).toEqual([2, 2, 2, 2]);
  expect(b!.values.filter((v) => v !== null)).toHaveLength(1);
});

test('another step, an older range or a gap ask for everything', () => {
  const c = new RangeCache();
  const g = { start: 3600, end: 7200, step: 60 };
  c.put('up', g, g, []);
  for (const other of [
    { start: 3600, end: 7200, step: 30 },
    { start: 0, end: 7200, step: 60 },
    { start: 7260, end: 9000, step: 60 },
  ]) {
    expect(c.missing('up', other)).toEqual(other);
  }
});

test('a series that ended leaves with its last point', () => {
  const c = new RangeCache();
  const g = { start: 0, end: 120, step: 60 };
  c.put('up', g, g, [series('gone', 0, 60, 60)]);
  const next = { start: 120, end: 240, step: 60 };
  expect(c.put('up', next, c.missing('up', next), []).series).toEqual([]);
});

test('points that vanished from a second answer are not kept', () => {
  const c = new RangeCache();
  const g = { start: 0, end: 300, step: 60 };
  c.put('up', g, g, [series('a', 0, 300, 60)]);
  const next = { start: 0, end: 360, step: 60 };
  const f = c.put('up', next, c.missing('up', next), [series('a', 360, 360, 60)]);
  expect(f.series[0]!.values).toEqual([1, 1, 1, 1, null, null, 1]);
});

test('a step back asks only for what is older, and a part of what is known for one point', () => {
  const c = new RangeCache();
  const g = { start: 3600, end: 7200, step: 60 };
  c.put('up', g, g, [series('a', 3600, 7200, 60)]);
  const back = { start: 1800, end: 5400, step: 60 };
  const missing = c.missing('up', back);
  expect(missing).toEqual({ start: 1800, end: 3540, step: 60 });
  const f = c.put('up', back, missing, [series('a', 1800, 3540, 60, 2)]);
  expect(f.series[0]!.values).toHaveLength(61);
  expect(f.series[0]!.values.every((v) => v !== null)).toBe(true);
  const part = { start: 2400, end: 4800, step: 60 };
  expect(c.missing('up', part)).toEqual({ start: 4800, end: 4800, step: 60 });
  expect(
    c.put('up', part, c.missing('up', part), [series('a', 4800, 4800, 60)]).series[0]!.values.every((v) => v !== null),
  ).toBe(true);
});

test('points of another grid are not mixed with those that are known', () => {
  const c = new RangeCache();
  const g = { start: 0, end: 7200, step: 3600 };
  c.put('up', g, g, [series('a', 0, 7200, 3600)]);
  const moved = { start: 900, end: 8100, step: 3600 };
  expect(c.missing('up', moved)).toEqual(moved);
});
