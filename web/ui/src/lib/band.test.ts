import { expect, test } from 'vitest';
import { bandExpr, bandsOf, hides } from './band';
import type { Line } from './chart';

test('a band asks for what lies within a step', () => {
  expect(hides(15)).toBe(false);
  expect(hides(30)).toBe(true);
  expect(bandExpr(['node_load1{machine="a"}'], 600)).toBe(
    'label_replace(max_over_time(node_load1{machine="a"}[600s]), "_q", "0", "", "") or label_replace(min_over_time(node_load1{machine="a"}[600s]), "_q", "1", "", "")',
  );
  expect(bandExpr(['sum(rate(x[$rate]))'], 600)).toContain('max_over_time((sum(rate(x[60s])))[600s:30s])');
  expect(bandExpr(['sum(rate(x[$rate]))'], 86400), 'bounded').toContain('[86400s:4320s]');
});

test('maxima and minima find their lines', () => {
  const line = (name: string, query: number, values: number[], past = false): Line => ({
    name,
    query,
    values,
    labels: {},
    negate: false,
    colour: '',
    past,
  });
  const answer = [line('a', 0, [9]), line('b', 1, [8]), line('a', 2, [1]), line('b', 3, [2])];
  expect(
    bandsOf([line('b', 1, [5]), line('a', 0, [4]), line('a', 0, [4], true), line('c', 0, [1])], answer, 2),
  ).toEqual([{ min: [2], max: [8] }, { min: [1], max: [9] }, undefined, undefined]);
});
