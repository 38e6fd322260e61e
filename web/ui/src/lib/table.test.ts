import { expect, test } from 'vitest';
import { fitting, itemsOf, sortRows, windowOf } from './table';

const even = (n: number) => Array.from({ length: n + 1 }, (_, i) => i * 36);

test('only rows in sight, and some to spare', () => {
  expect(windowOf(0, 720, even(1000))).toEqual({ first: 0, last: 32 });
  expect(windowOf(18000, 720, even(1000))).toEqual({ first: 488, last: 532 });
  expect(windowOf(-500, 100, even(5))).toEqual({ first: 0, last: 5 });
  expect(windowOf(99999, 720, even(10))).toEqual({ first: 0, last: 10 });
  // Lines of 100 and 20 pixels in turn.
  expect(
    windowOf(
      6010,
      100,
      Array.from({ length: 201 }, (_, i) => Math.floor(i / 2) * 120 + (i % 2) * 100),
    ),
  ).toEqual({ first: 88, last: 114 });
});

test('a group has a head that counts it', () => {
  expect(itemsOf(['b1', 'b2', 'c1'], (r) => r[0]!)).toEqual([
    { group: 'b', count: 2 },
    { row: 'b1', index: 0 },
    { row: 'b2', index: 1 },
    { group: 'c', count: 1 },
    { row: 'c1', index: 2 },
  ]);
  expect(itemsOf(['x'])).toEqual([{ row: 'x', index: 0 }]);
});

test('columns that there is no room for are left out, the least important first', () => {
  const columns = [
    { id: 'name', min: 200 },
    { id: 'cpu', width: '100px', rank: 1 },
    { id: 'os', width: '150px', rank: 3 },
    { id: 'temp', width: '60px', rank: 2 },
  ];
  const ids = (room: number) => fitting(columns, room).map((c) => c.id);
  expect(ids(600)).toEqual(['name', 'cpu', 'os', 'temp']);
  expect(ids(400)).toEqual(['name', 'cpu', 'temp']);
  expect(ids(310)).toEqual(['name', 'cpu']);
  expect(ids(100)).toEqual(['name']);
  expect(ids(0)).toHaveLength(4); // the room is not known yet
});

test('numbers by size, names as people count them, missing ones last', () => {
  const rows = [
    { n: 'web10', v: 2 },
    { n: 'web9', v: undefined },
    { n: 'a', v: 30 },
  ];
  expect(sortRows(rows, (r) => r.n, false).map((r) => r.n)).toEqual(['a', 'web9', 'web10']);
  expect(sortRows(rows, (r) => r.v, true).map((r) => r.n)).toEqual(['a', 'web10', 'web9']);
  expect(sortRows(rows, (r) => r.v, false).map((r) => r.n)).toEqual(['web10', 'a', 'web9']);
});

test('groups stay together', () => {
  const rows = [
    { g: 'b', v: 1 },
    { g: 'a', v: 2 },
    { g: 'b', v: 0 },
  ];
  expect(
    sortRows(
      rows,
      (r) => r.v,
      false,
      (r) => r.g,
    ),
  ).toEqual([
    { g: 'a', v: 2 },
    { g: 'b', v: 0 },
    { g: 'b', v: 1 },
  ]);
});
