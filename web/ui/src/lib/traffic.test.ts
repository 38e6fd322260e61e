import { expect, it } from 'vitest';
import type { TrafficRow } from '../api/types/traffic';
import { dayText, quotaText, share, urgency } from './traffic';

const nov21 = '2026-11-21';
const row = (used: number, expected?: number, due?: string): TrafficRow => ({
  machine: 'web1',
  received: 1,
  sent: 2,
  quota: { bytes: 100, used, ...(expected !== undefined && { expected }), ...(due !== undefined && { due }) },
});

it('says what becomes of the quota', () => {
  expect(dayText(nov21)).toBe('21 Nov');
  const all = [row(50, 90), row(50, 120, nov21), row(101, 300, nov21), row(50)];
  expect(all.map((r) => quotaText(r))).toEqual([
    'within quota',
    'quota used up about 21 Nov',
    'quota exceeded',
    'too little data',
  ]);
  expect(all.map(urgency)).toEqual(['', 'warn', 'crit', '']);
  expect(all.map(share)).toEqual([0.5, 0.5, 1.01, 0.5]);
  const free: TrafficRow = { machine: 'b', received: 1, sent: 2 };
  expect([quotaText(free), urgency(free), share(free)]).toEqual(['no quota', '', undefined]);
});
