import { expect, test } from 'vitest';
import { troubles } from './remoteWrite';

const good = { url: 'http://mon/api/v1/write', sent: 100, pending: 3, behind: 2, failing: false };

test('a receiver that takes samples is no trouble', () => {
  expect(troubles([good], true)).toEqual([]);
  expect(troubles([], false)).toEqual([]);
});

test('an agent without a receiver says so', () => {
  expect(troubles([], true)).toEqual(['No remote_write is configured: the samples of this agent are sent nowhere.']);
});

test('what is not sent is said with the reason', () => {
  expect(
    troubles([good, { ...good, failing: true, lastError: 'connection refused', pending: 83600, behind: 720 }], true),
  ).toEqual([
    'Remote write to http://mon/api/v1/write fails: connection refused (83,600 samples pending, behind by 12 min)',
  ]);
  expect(troubles([{ ...good, pending: 0, behind: 900 }], false)).toEqual([
    'Remote write to http://mon/api/v1/write is behind by 15 min',
  ]);
});
