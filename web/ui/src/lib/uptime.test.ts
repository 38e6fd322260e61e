import { expect, test } from 'vitest';
import { details, intermittent, levelOf, monthName, shareText, together } from './uptime';

test('a share is never rounded up', () => {
  expect(shareText(1)).toBe('100 %');
  expect(shareText(0.9999999)).toBe('99.999 %');
  expect(shareText(0.99985)).toBe('99.985 %');
  expect(shareText(0.98777)).toBe('98.7 %');
  expect(shareText(0)).toBe('0.0 %');
  expect(shareText(undefined)).toBe('–');
  expect([levelOf(1), levelOf(0.985), levelOf(0.5), levelOf(undefined)]).toEqual(['', 'warn', 'crit', '']);
});

test('a month says what is not known, and what was maintenance', () => {
  const month = { name: '2026-11', from: 0, to: 100_000 };
  expect(monthName(month.name)).toBe('Nov 2026');
  expect(details({ up: 100_000, ratio: 1 }, month)).toEqual([]);
  expect(details({ up: 50_000, down: 120, maintenance: 3600, ratio: 0.9 }, month)).toEqual([
    '2 min down',
    '1 h of silenced maintenance',
    '12 h not recorded',
  ]);
  expect(details({ on: 40_000, off: 60_000 }, month)).toEqual(['11 h on, 16 h off']);
  expect(intermittent({ on: 1 })).toBe(true);
  expect(intermittent({ up: 1, ratio: 1 })).toBe(false);
});

test('intermittent machines do not count for all machines', () => {
  const months = (s: object) => ({ machine: 'x', months: { '2026-11': s } });
  expect(
    together([months({ up: 90, down: 10 }), months({ on: 1, off: 99 }), months({ up: 100 })], '2026-11').ratio,
  ).toBe(0.95);
  expect(together([months({ on: 1 })], '2026-11').ratio).toBeUndefined();
});
