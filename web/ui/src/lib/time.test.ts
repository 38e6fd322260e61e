// Node's, for the time zone of a test.
declare const process: { env: Record<string, string | undefined> };

import { expect, test } from 'vitest';
import {
  aligned,
  dateTime,
  durationText,
  parseDateTime,
  parseDuration,
  readRange,
  shifted,
  stepFor,
  wider,
  zoneName,
  zoneOf,
} from './time';

test('durations are read and written as Prometheus has them', () => {
  expect(parseDuration('1h30m')).toBe(5400);
  expect(parseDuration('7d')).toBe(604800);
  expect(parseDuration('1h30')).toBeUndefined();
  expect(parseDuration('')).toBeUndefined();
  expect(durationText(5400)).toBe('1h30m');
  expect(durationText(90061)).toBe('1d1h1m1s');
});

test('the range in the URL; nonsense is the default', () => {
  expect(readRange(new URLSearchParams('range=6h'), 100000)).toEqual({ from: 78400, to: 100000, relative: '6h' });
  expect(readRange(new URLSearchParams('from=10&to=20'), 100)).toEqual({ from: 10, to: 20 });
  expect(readRange(new URLSearchParams('range=banana'), 100000).relative).toBe('1h');
  expect(readRange(new URLSearchParams('from=20&to=10'), 100000).relative).toBe('1h');
});

test('steps are round and points aligned', () => {
  expect(stepFor(3600)).toBe(15);
  expect(stepFor(6 * 3600)).toBe(120);
  expect(stepFor(30 * 86400)).toBe(10800);
  expect(stepFor(365 * 86400)).toBe(172800);
  expect(aligned({ from: 101, to: 299 }, 60)).toEqual({ start: 60, end: 240 });
  expect(aligned({ from: 159, to: 339 }, 60)).toEqual({ start: 120, end: 300 });
  // A long chart ends within the last quarter of an hour, not hours ago.
  const now = 1764040200 + 777;
  const month = aligned({ from: now - 30 * 86400, to: now }, 10800);
  expect(now - month.end).toBeLessThan(900);
  expect((month.end - month.start) / 10800).toBe(240);
});

test('dates', () => {
  expect(dateTime(1764040200, true)).toBe('2025-11-25 03:10');
  expect(parseDateTime('2025-11-25 03:10', true)).toBe(1764040200);
  expect(parseDateTime('yesterday', true)).toBeUndefined();
});

test('ranges move, but not into the future', () => {
  const now = 1_000_000;
  const hour = { from: now - 3600, to: now, relative: '1h' };
  expect(shifted(hour, -0.5, now)).toEqual({ from: now - 5400, to: now - 1800 });
  expect(shifted(hour, 0.5, now)).toEqual(hour);
  expect(shifted({ from: now - 9000, to: now - 5400 }, 0.5, now)).toEqual({ from: now - 7200, to: now - 3600 });
  expect(shifted({ from: now - 5400, to: now - 1800 }, 0.5, now + 40)).toMatchObject({ to: now + 40, relative: '1h' }); // back at the present
  expect(wider(hour, now)).toMatchObject({ relative: '2h' });
  expect(wider({ from: now - 12 * 3600, to: now, relative: '12h' }, now)).toMatchObject({ relative: '24h' });
  expect(wider({ from: now - 3600, to: now - 600 }, now)).toEqual({ from: now - 6000, to: now });
});

test('a range over the end of summer time names the zone of both ends', () => {
  const zone = process.env.TZ;
  process.env.TZ = 'America/New_York';
  try {
    const [from, to] = [Date.UTC(2026, 10, 1, 3) / 1000, Date.UTC(2026, 10, 1, 9) / 1000];
    expect([from, to].map((t) => zoneOf(t, { from, to }, false))).toEqual([' EDT', ' EST']);
    expect(zoneOf(from, { from, to }, true)).toBe('');
    expect(zoneOf(to, { from: to, to: to + 3600 }, false)).toBe('');
    process.env.TZ = 'Europe/Berlin';
    expect(zoneName(Date.UTC(2026, 6, 1) / 1000)).toBe('CEST');
  } finally {
    if (zone === undefined) delete process.env.TZ;
    else process.env.TZ = zone;
  }
});
