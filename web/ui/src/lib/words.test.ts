import { expect, test } from 'vitest';
import { severityWord, sourceWord, staleSince } from './words';

test('a refresh that failed says of when the data is', () => {
  const now = Date.UTC(2026, 10, 25, 6, 10) / 1000;
  expect(staleSince(now - 8 * 60, now, true)).toBe('Could not refresh; showing data from 06:02');
  expect(staleSince(now - 30 * 3600, now, true)).toBe('Could not refresh; showing data from 2026-11-24 00:10');
  expect(staleSince(0, now, true)).toBe('Could not refresh');
});

test('a severity and a source have one name', () => {
  expect(['critical', 'none', ''].map(severityWord)).toEqual(['critical', 'internal', 'no severity']);
  expect(['dns', 'config', 'local'].map(sourceWord)).toEqual(['dns', 'configuration file', 'this server']);
});
