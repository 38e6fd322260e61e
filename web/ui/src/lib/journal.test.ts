import { expect, test } from 'vitest';
import { appended, arrange, journalUnit, levelOf, most, secondsOf, unitOf } from './journal';
import type { Line } from '../api/types/look';

const line = (s: number, boot = 'a', more: Partial<Line> = {}): Line => ({
  __REALTIME_TIMESTAMP: String(s * 1e6),
  _BOOT_ID: boot,
  MESSAGE: `at ${s}`,
  ...more,
});
const words = (lines: Line[], moment?: number) =>
  arrange(lines, moment).shown.map((x) => ('line' in x ? x.line.MESSAGE : 'boot' in x ? `boot ${x.boot}` : 'moment'));

test('the moment stands between the lines before and after it', () => {
  const lines = [line(10), line(20), line(30)];
  expect(words(lines, 25)).toEqual(['at 10', 'at 20', 'moment', 'at 30']);
  expect(words(lines, 20)).toEqual(['at 10', 'at 20', 'moment', 'at 30']);
  expect(words(lines, 90)).toEqual(['at 10', 'at 20', 'at 30', 'moment']);
  expect(words(lines)).toEqual(['at 10', 'at 20', 'at 30']);
});

test('what a process said last may be dated after its end', () => {
  expect(words([line(20.1), line(20.2)], 20)).toEqual(['at 20.1', 'at 20.2', 'moment']);
  expect(words([line(10), line(20.1), line(30)], 20)).toEqual(['at 10', 'at 20.1', 'moment', 'at 30']);
});

test('a moment before the first line is not among them', () => {
  expect(arrange([line(5), line(6)], 2).found).toBe(false);
  expect(arrange([], 2).found).toBe(false);
  expect(arrange([line(1)], 2).found).toBe(true);
});

test('another boot is marked, and lines without a time or boot change nothing', () => {
  expect(words([line(1), { MESSAGE: 'no time' }, line(5, 'b'), line(6, 'b')], 2)).toEqual([
    'at 1',
    'no time',
    'moment',
    'boot b',
    'at 5',
    'at 6',
  ]);
});

test('levels of priorities', () => {
  expect(
    ['0', '3', '4', '5', '6', '7', undefined].map((p) => levelOf({ MESSAGE: '', ...(p && { PRIORITY: p }) })),
  ).toEqual(['crit', 'crit', 'warn', '', '', 'off', '']);
  expect(secondsOf({ MESSAGE: '' })).toBeUndefined();
});

test('the unit of an alert', () => {
  expect(unitOf({ name: 'nginx.service', machine: 'web1' })).toBe('nginx.service');
  expect(unitOf({ name: 'home', unit: 'borgbackup-job-home.service' })).toBe('borgbackup-job-home.service');
  expect(unitOf({ name: 'sda' })).toBeUndefined();
  expect(journalUnit('backup.timer')).toBe('backup.service');
  expect(journalUnit('sshd.socket')).toBe('sshd.socket');
});

test('no more lines are kept than one can read', () => {
  const all = Array.from({ length: most }, (_, i) => line(i));
  const kept = appended(all, [line(7777)]);
  expect(kept.length).toBe(most);
  expect(kept.at(-1)!.MESSAGE).toBe('at 7777');
});
