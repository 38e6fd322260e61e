import { expect, test } from 'vitest';
import { troubles, type RemoteWrite } from './remoteWrite';

const now = Date.parse('2026-11-28T12:00:00Z') / 1000;
const at = (s: number) => new Date((now - s) * 1000).toISOString();
const good: RemoteWrite = {
  name: 'mon',
  url: 'http://mon/api/v1/write',
  state: 'ok',
  sent: 100,
  pending: 3,
  failed: 0,
  retried: 0,
  resent: 0,
  refused: 0,
  behindSeconds: 2,
  lastSent: at(5),
};

test('a receiver that takes samples is no trouble', () => {
  expect(troubles([good], true, now)).toEqual([]);
  expect(troubles([{ ...good, lastError: 'timeout', lastErrorAt: at(600) }], true, now)).toEqual([]);
  expect(troubles([], false, now)).toEqual([]);
});

test('an agent without a receiver says so', () => {
  expect(troubles([], true, now)).toEqual([
    'Samples of this agent are not sent anywhere: no remote_write is configured.',
  ]);
});

test('what is not sent is said with the reason', () => {
  const { lastSent: _, ...never } = good;
  const bad = { ...never, lastError: 'connection refused', lastErrorAt: at(20), pending: 83600, behindSeconds: 720 };
  expect(troubles([good, bad], true, now)).toEqual([
    'Remote write to http://mon/api/v1/write is failing: connection refused (83,600 samples pending, behind by 12 min)',
  ]);
  expect(troubles([{ ...good, state: 'behind', pending: 0, behindSeconds: 900 }], false, now)).toEqual([
    'Remote write to http://mon/api/v1/write is behind by 15 min',
  ]);
});

test('a receiver that takes nothing is failing, whatever was sent', () => {
  expect(troubles([{ ...good, state: 'rejecting', pending: 0, behindSeconds: 0 }], false, now)).toEqual([
    'Remote write to http://mon/api/v1/write is failing: nothing is taken',
  ]);
});

test('catching up after a restart is trouble only while it is far behind', () => {
  const catchingUp = { ...good, state: 'catching up', pending: 0 };
  expect(troubles([catchingUp], true, now)).toEqual([]);
  expect(troubles([{ ...catchingUp, behindSeconds: 900 }], true, now)).toEqual([
    'Remote write to http://mon/api/v1/write is behind by 15 min',
  ]);
});
