import { expect, test } from 'vitest';
import type { Line } from '../../lib/chart';
import { bandsOf, placed, shownOf } from './draw';

const line = (name: string, more: Partial<Line> = {}): Line => ({
  name,
  labels: {},
  query: 0,
  values: [],
  negate: false,
  colour: 'var(--series-1)',
  ...more,
});

test('a stack is drawn below its lines, and what is hidden keeps the looks of the others', () => {
  const all = [line('limit', { line: true }), ...Array.from({ length: 9 }, (_, i) => line(`cpu${i}`))];
  const names = (off: string[], stack: boolean) => shownOf(all, new Set(off), stack).map((l) => l.name);
  expect(names([], true).at(-1)).toBe('limit');
  expect(names(['cpu0'], true)).toHaveLength(9);
  expect(names([], false)[0]).toBe('limit');
  const last = (off: string[], stack: boolean) => shownOf(all, new Set(off), stack).find((l) => l.name === 'cpu8')!;
  expect(last([], true)).toMatchObject({ pale: true, dash: [6, 3] });
  expect(last(['cpu0', 'cpu1'], false)).toMatchObject({ pale: false, dash: [6, 3] });
});

test('an area is filled down to the one below on its side of zero', () => {
  const received = { negate: false };
  const sent = { negate: true };
  const shown = shownOf(
    [line('a', received), line('b', sent), line('c', received), line('d', sent), line('limit', { line: true })],
    new Set(),
    true,
  );
  expect(bandsOf(shown)).toEqual([
    { series: [3, 1], dir: -1 },
    { series: [4, 2], dir: 1 },
  ]);
});

test('names of limits do not lie over each other', () => {
  const at = (...ys: number[]) =>
    placed(
      ys.map((y) => ({ y, text: `${y}` })),
      0,
      12,
    ).map((n) => `${n.text} ${n.side} ${n.y}`);
  expect(at(50)).toEqual(['50 right 50']);
  expect(at(4)).toEqual(['4 right 16']); // below the line at the top
  expect(at(50, 58, 62)).toEqual(['50 right 50', '58 left 58', '62 right 62']);
  expect(at(50, 51, 52)).toEqual(['50 right 50', '51 left 51']);
});
