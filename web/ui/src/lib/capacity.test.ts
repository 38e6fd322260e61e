import { describe, expect, it } from 'vitest';
import type { CapacityRow } from '../api/types/capacity';
import { chartOf, dueText, fits, growthText, leftText, noneDueText, rangeText, rank, urgency } from './capacity';

const DAY = 86400;
const now = 1_795_000_000;
const row = (r: Partial<CapacityRow> = {}): CapacityRow => ({
  kind: 'filesystem',
  machine: 'web1',
  name: '/srv',
  device: '/dev/sda1',
  fstype: 'ext4',
  size: 100e9,
  used: 80e9,
  known: true,
  ...r,
});

describe('when', () => {
  it('is one unit', () => {
    expect([59 * 60, 7200, 36 * 3600, 2 * DAY, 89 * DAY, 200 * DAY].map(leftText)).toEqual([
      '59 min',
      '2 h',
      '36 h',
      '2 d',
      '89 d',
      '6 months',
    ]);
  });
  it('has what is nearly full before what is due in months', () => {
    const key = row({ kind: 'key', name: 'key', due: now + 90 * DAY });
    const soon = row({ name: 'soon', due: now + 3 * DAY });
    const full = row({ name: 'full', used: 98e9, known: false });
    const fuller = row({ name: 'fuller', used: 99e9, known: false });
    const half = row({ name: 'half', used: 50e9 });
    const memory = row({ kind: 'memory', name: 'memory', used: 99e9 });
    const sorted = [half, memory, key, full, fuller, soon].sort((a, b) => rank(a, now) - rank(b, now));
    expect(sorted.map((r) => r.name)).toEqual(['soon', 'fuller', 'full', 'key', 'memory', 'half']);
  });
  it('does not call too little data good news', () => {
    const young = row({ known: false });
    expect(noneDueText([young, young])).toBe('Too little data for predictions yet.');
    expect(noneDueText([row(), row()])).toBe('Nothing is predicted to fill up or expire within a year.');
    expect(noneDueText([row(), young])).toMatch(/ Too little data for 1 of 2 entries\.$/);
    expect([noneDueText([]), noneDueText([young, row({ due: now })])]).toEqual(['', '']);
  });
  it('says what is not foreseen, and why', () => {
    expect(dueText(row(), now)).toBe('not within a year');
    expect(dueText(row({ known: false }), now)).toBe('too little data');
    expect(dueText(row({ due: now + 3 * DAY }), now)).toBe('in 3 d');
    expect(dueText(row({ due: now }), now)).toBe('full');
    expect(dueText(row({ kind: 'certificate', due: now - DAY }), now)).toBe('expired');
  });
  it('has a range', () => {
    const at = (earliest: number, latest?: number) =>
      rangeText(
        row({ due: now + 3 * DAY, earliest: now + earliest * DAY, ...(latest && { latest: now + latest * DAY }) }),
        now,
      );
    expect(at(2, 5)).toBe('2–5 d');
    expect(at(1, 5)).toBe('24 h – 5 d');
    expect(at(2)).toBe('2 d or more');
    expect(at(3.1, 3.4)).toBe('');
    expect(rangeText(row({ kind: 'certificate', due: now + DAY }), now)).toBe('');
  });
  it('has a color within a week', () => {
    expect([0.5, 3, 8].map((d) => urgency(row({ due: now + d * DAY }), now))).toEqual(['crit', 'warn', '']);
    expect(urgency(row(), now)).toBe('');
  });
});

it('shows growth with its sign', () => {
  expect(growthText(row(), 2 ** 30)).toBe('+1 GiB');
  expect(growthText(row(), -(2 ** 30))).toBe('−1 GiB');
  expect(growthText(row(), 100)).toBe('0');
  expect(growthText(row(), undefined)).toBe('–');
  expect(growthText(row({ kind: 'inodes', size: 1e6 }), 1200)).toBe('+1,200');
});

it('is filtered by text, kind, machine and date', () => {
  const f = { text: '', group: '', soon: false, machines: null };
  expect(fits(row(), f, now)).toBe(true);
  expect(fits(row(), { ...f, text: 'web srv' }, now)).toBe(true);
  expect(fits(row(), { ...f, text: 'nas' }, now)).toBe(false);
  expect(fits(row(), { ...f, group: 'memory' }, now)).toBe(false);
  expect(fits(row({ kind: 'pool' }), { ...f, group: 'disks' }, now)).toBe(true);
  expect(fits(row({ due: now + 8 * DAY }), { ...f, soon: true }, now)).toBe(false);
  expect(fits(row({ due: now + 6 * DAY }), { ...f, soon: true }, now)).toBe(true);
  expect(fits(row(), { ...f, machines: new Set(['nas']) }, now)).toBe(false);
});

it('leads to the chart, over the time that says it', () => {
  expect(chartOf(row({ trend: '6h' }))).toEqual({ path: '/m/web1', params: { tab: 'disks', range: '24h' } });
  expect(chartOf(row({ machine: 'a/b' }))).toEqual({ path: '/m/a%2Fb', params: { tab: 'disks', range: '30d' } });
  expect(chartOf(row({ kind: 'memory', trend: '7d' }))).toEqual({ path: '/m/web1', params: { range: '7d' } });
  expect(chartOf(row({ kind: 'certificate', name: 'cloud' }))).toEqual({ path: '/checks', params: { q: 'cloud' } });
});
