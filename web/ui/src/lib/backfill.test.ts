import { expect, test } from 'vitest';
import { fillingOf, type Gap } from './backfill';

const gap = (more: Partial<Gap>): Gap => ({
  job: 'node',
  instance: 'm1:9100',
  machine: 'm1',
  from: '2026-11-28T10:00:00Z',
  to: '2026-11-28T13:10:00Z',
  until: '2026-11-28T10:00:00Z',
  filling: false,
  ...more,
});

test('says what is filled and how long it takes', () => {
  expect(fillingOf([])).toBe('');
  expect(fillingOf([gap({})], 'm2')).toBe('');
  expect(fillingOf([gap({ filling: true, seconds_left: 40 })], 'm1')).toMatch(/^Filling 3\s?h.*, 40\s?s left$/);
  expect(fillingOf([gap({ filling: true }), gap({ instance: 'm2:9100', machine: 'm2' })])).toMatch(
    /^Filling 3\s?h.* of 2 targets$/,
  );
  expect(fillingOf([gap({ error: 'its clock is off by 10m0s' })], 'm1')).toBe(
    'Could not fill a gap, retrying: its clock is off by 10m0s',
  );
});
