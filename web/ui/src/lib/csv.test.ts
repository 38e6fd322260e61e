import { expect, test } from 'vitest';
import type { Line } from './chart';
import { csvOf } from './csv';

test('times, names and values; no name is a formula', () => {
  const line = (name: string, values: (number | null)[], negate = false): Line => ({
    name,
    labels: {},
    query: 0,
    values,
    negate,
    colour: '',
  });
  expect(csvOf([0, 60], [line('a, "b"', [1, null]), line('sent', [-2, -0.5], true), line('=1+1', [3, 4])])).toBe(
    'time,"a, ""b""",sent,\'=1+1\r\n1970-01-01T00:00:00.000Z,1,2,3\r\n1970-01-01T00:01:00.000Z,,0.5,4\r\n',
  );
});
