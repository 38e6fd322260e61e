import { expect, test } from 'vitest';
import {
  alone,
  beginsAt,
  combined,
  continued,
  exprFor,
  firstTime,
  lookbackFor,
  mix,
  pastLines,
  ramps,
  seriesName,
  settled,
  split,
  stackFrame,
  statsOf,
  type Line,
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

test('a machine that was replaced goes on as one line', () => {
  const line = (name: string, labels: Record<string, string>, values: (number | null)[], query = 0) => ({
    name,
    labels,
    query,
    values,
    negate: false,
    colour: '',
  });
  const old = line('used', { instance: 'a' }, [1, 2, 3, null, null]);
  const now = line('used', { instance: 'b' }, [null, null, 4, 5, 6]);
  expect(continued([now, old], 2)).toEqual([{ ...now, values: [1, 2, 4, 5, 6] }]);
  // Three in a row, and another query's line of the same name.
  const third = line('used', { instance: 'c' }, [null, null, null, null, 7]);
  const other = line('used', {}, [9, 9, 9, 9, 9], 1);
  expect(continued([old, other, now, third], 2).map((l) => l.values)).toEqual([
    [1, 2, 4, 5, 7],
    [9, 9, 9, 9, 9],
  ]);
  // Two that are there together stay two, and are told apart.
  const [a, b] = [
    line('job', { instance: 'a', x: '1' }, [1, 1, 1, 1, 1]),
    line('job', { instance: 'b', x: '1' }, [2, 2, 2, 2, 2]),
  ];
  expect(continued([a, b], 2).map((l) => l.name)).toEqual(['job (a)', 'job (b)']);
  // By one label where that is enough, and by the job where it says it.
  const both = (jobs: string[]) =>
    jobs.map((job, i) => line('used', { instance: `h${i}:9100`, job, nodename: `n${i}` }, [1, 1, 1, 1, 1]));
  expect(continued(both(['node', 'prod']), 2).map((l) => l.name)).toEqual(['used (node)', 'used (prod)']);
  expect(continued(both(['node', 'node']), 2).map((l) => l.name)).toEqual(['used (h0:9100)', 'used (h1:9100)']);
});

test('a rate begins and ends where its window is full', () => {
  const o = null;
  // A new machine, and one with a gap: 60 s of window are full two points later.
  expect(settled([o, 1, 2, 3, 3, 3], 15)).toEqual([o, o, o, 3, 3, 3]);
  expect(settled([3, 3, 3, 2, 1, o, o, 1, 2, 3], 15)).toEqual([3, 3, 3, o, o, o, o, o, o, 3]);
  expect(settled([o, 1, 2], 15)).toEqual([o, o, o]);
  expect(settled([3, 3], 15)).toEqual([3, 3]);
  expect(settled([o, 1, 3, 3], 60)).toEqual([o, o, 3, 3]);
  expect(settled([o, 1, 2, 3, 4, 5, 5], 30, 60)).toEqual([o, o, o, o, o, 5, 5]);
  // The only point of a long range is better than none.
  expect(settled([o, 1], 3600)).toEqual([o, 1]);
  expect(settled([o, 1, 3], 3600)).toEqual([o, o, 3]);
});

test('which queries read too little in a window that is partly filled', () => {
  expect(ramps('sum by (machine) (rate(x{machine="a"}[$rate])) * 8')).toBe(true);
  expect(ramps('rate(x[$rate]) / on (machine) group_left () rate(y[$rate])')).toBe(false);
  expect(ramps('rate(x[$rate]) > 0')).toBe(false);
  expect(ramps('increase(x[$rate])')).toBe(false);
  expect(ramps('node_load1')).toBe(false);
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

test('a gauge ends with the rates beside it', () => {
  expect(lookbackFor('node_load1{machine="a"}', 15)).toBe(45);
  expect(lookbackFor('node_load1', 60, 60)).toBe(180);
  expect(lookbackFor('node_load1', 3600)).toBe(3585);
  // What rules write is not scraped.
  expect(lookbackFor('machine:up{machine="a"}', 15)).toBe(150);
  expect(lookbackFor('ALERTS', 15)).toBe(150);
  expect(lookbackFor('up{instance="a:9100"} and max_over_time(x[1d:1m])', 15)).toBe(45);
});

test('queries of one chart are asked in one request and told apart again', () => {
  expect(combined(['up'])).toBe('up');
  expect(combined(['a', 'b'])).toBe('label_replace(a, "_q", "0", "", "") or label_replace(b, "_q", "1", "", "")');
  expect(split({ x: '1', _q: '1' })).toEqual({ query: 1, labels: { x: '1' } });
  expect(split({ x: '1' })).toEqual({ query: 0, labels: { x: '1' } });
});

test('a point without neighbours is seen', () => {
  expect(alone([1, null, 2, 3, null, 4])).toEqual([0, 5]);
});

test('colours are mixed by part', () => {
  expect(mix('#0072b2', '#ffffff', 0.5)).toBe('#80b9d9');
  expect(mix('#0072b2', '#ffffff', 0)).toBe('#0072b2');
});

const line = (name: string, values: (number | null)[], more: Partial<Line> = {}): Line => ({
  name,
  labels: {},
  query: 0,
  values,
  negate: false,
  colour: `var(--${name})`,
  ...more,
});

test('lines of an earlier day have the colours of today', () => {
  const then = [line('b', [1, 2], { colour: '' }), line('gone', [3, 4], { colour: '' })];
  const out = pastLines(then, [line('a', [0, 0]), line('b', [5, 6])], false, 'yesterday');
  expect(out.map((l) => [l.name, l.values, l.colour])).toEqual([
    ['b, yesterday', [1, 2], 'var(--b)'],
    ['gone, yesterday', [3, 4], 'var(--series-2)'],
  ]);
  expect(out.every((l) => l.past)).toBe(true);
});

test('of stacked areas of an earlier day there is the top', () => {
  const then = [line('user', [1, null]), line('system', [2, 3]), line('steal', [9, 9], { line: true })];
  const out = pastLines(then, then, true, 'last week');
  expect(out.map((l) => [l.name, l.values, l.line])).toEqual([['last week', [3, 3], true]]);
});

test('figures of a line describe what it shows', () => {
  expect(statsOf(line('a', [null, 1, 3, 2]))).toEqual({ min: 1, mean: 2, max: 3, last: 2 });
  expect(statsOf(line('sent', [-1, -3], { negate: true }))).toEqual({ min: 1, mean: 2, max: 3, last: 3 });
  expect(statsOf(line('a', [null]))).toBeUndefined();
});

test('charts begin with the data where most of the range has none', () => {
  const times = [0, 60, 120, 180];
  expect(firstTime(times, [line('a', [null, null, 1, 1]), line('b', [null, null, null, 1])])).toBe(120);
  expect(firstTime(times, [line('a', [null, null, null, null])])).toBeUndefined();
  expect(beginsAt(0, 3600, 3480)).toBe(3300); // two minutes of data: five are shown
  expect(beginsAt(0, 3600, 2400)).toBe(2400);
  expect(beginsAt(0, 3600, 1000)).toBeUndefined();
  expect(beginsAt(0, 120, 110)).toBe(0);
});
