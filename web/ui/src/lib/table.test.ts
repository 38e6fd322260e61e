import { expect, test } from 'vitest';
import { sortRows, windowOf } from './table';

test('only rows in sight, and some to spare', () => {
  expect(windowOf(0, 720, 36, 1000)).toEqual({ first: 0, last: 32 });
  expect(windowOf(18000, 720, 36, 1000)).toEqual({ first: 488, last: 532 });
  expect(windowOf(-500, 100, 36, 5)).toEqual({ first: 0, last: 1 });
  expect(windowOf(99999, 720, 36, 10)).toEqual({ first: 10, last: 10 });
});

test('numbers by size, names as people count them, missing ones last', () => {
  const rows = [{ n: 'web10', v: 2 }, { n: 'web9', v: undefined }, { n: 'a', v: 30 }];
  expect(sortRows(rows, (r) => r.n, false).map((r) => r.n)).toEqual(['a', 'web9', 'web10']);
  expect(sortRows(rows, (r) => r.v, true).map((r) => r.n)).toEqual(['a', 'web10', 'web9']);
  expect(sortRows(rows, (r) => r.v, false).map((r) => r.n)).toEqual(['web10', 'a', 'web9']);
});

test('groups stay together', () => {
  const rows = [{ g: 'b', v: 1 }, { g: 'a', v: 2 }, { g: 'b', v: 0 }];
  expect(sortRows(rows, (r) => r.v, false, (r) => r.g)).toEqual([{ g: 'a', v: 2 }, { g: 'b', v: 0 }, { g: 'b', v: 1 }]);
});
