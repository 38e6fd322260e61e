import { expect, test } from 'vitest';
import { seriesName, stackFrame } from './chart';

test('stacked lines add up; a gap is only a gap where all have one', () => {
  const v = (values: (number | null)[]) => ({ values });
  expect(stackFrame([v([1, null, null]), v([2, 2, null])])).toEqual([[1, null, null], [3, 2, null]]);
});

test('names of series', () => {
  expect(seriesName({ __name__: 'up', job: 'a"b', x: '1' }, { x: '1' })).toBe('up{job="a\\"b"}');
  expect(seriesName({})).toBe('{}');
});
