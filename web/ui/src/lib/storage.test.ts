import { expect, test } from 'vitest';
import { daysUntilFull } from './storage';

test('days until the size limit', () => {
  const gib = 2 ** 30;
  expect(daysUntilFull({ limit: 11 * gib, blocks: 0.5 * gib, wal: 0.5 * gib, growth: gib / 86400 })).toBeCloseTo(10);
  expect(daysUntilFull({ limit: gib, blocks: 2 * gib, growth: 1 })).toBe(0);
  expect(daysUntilFull({ blocks: gib, growth: 1 })).toBeUndefined();
  expect(daysUntilFull({ limit: gib, blocks: 1, growth: -1 })).toBeUndefined();
});
