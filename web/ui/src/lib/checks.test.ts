import { expect, test } from 'vitest';
import type { Check, Place } from '../api/types/checks';
import { checkFits, dayLevel, daysLeft, snippets, uptimeText, whyNot, wrongURL } from './checks';

const place: Place = {
  from: 'hub',
  state: 'ok',
  duration: 0.1,
  uptime: { day: 1, month: null, quarter: null },
};
const base: Check = {
  ...place,
  name: 'cloud',
  url: 'https://cloud.example.org',
  severity: 'warning',
  every: 60,
  certificateDays: 14,
  places: [place],
};

test('why a check fails says from where, unless that is everywhere', () => {
  const bad: Place = { ...place, from: 'web1', state: 'failing', why: 'refused' };
  expect(whyNot({ ...base, ...bad, places: [place, bad] })).toBe('from web1: refused');
  expect(whyNot({ ...base, ...bad, places: [bad, { ...bad, from: 'hub' }] })).toBe('refused');
  expect(whyNot({ ...base, ...bad, places: [bad] })).toBe('refused');
  expect(whyNot(base)).toBe('');
});

test('an uptime is never rounded up to all of the time', () => {
  expect(uptimeText(1)).toBe('100 %');
  expect(uptimeText(0.99999)).toBe('99.99 %');
  expect(uptimeText(0.5)).toBe('50 %');
  expect(uptimeText(0)).toBe('0 %');
  expect(uptimeText(null)).toBe('–');
});

test('a day without samples is no good day', () => {
  expect([null, 1, 0.99, 0.2].map(dayLevel)).toEqual(['none', 'ok', 'warn', 'crit']);
});

test('filters look at everything that a row shows', () => {
  const c = { ...base, state: 'failing' as const, why: 'connection refused', machine: 'web1' };
  expect(checkFits(c, 'web1 refused', 'failing')).toBe(true);
  expect(checkFits(c, 'refused', 'ok')).toBe(false);
  expect(checkFits(c, 'timeout', '')).toBe(false);
});

test('days of a certificate', () => {
  const now = Date.parse('2026-11-28T00:00:00Z') / 1000;
  expect(daysLeft({ ...base, certificateExpires: '2026-11-30T12:00:00Z' }, now)).toBe(2.5);
  expect(daysLeft(base, now)).toBe(undefined);
});

test('snippets are ready to paste', () => {
  expect(snippets('', '').flag).toBe("--check 'https://cloud.example.org'");
  const s = snippets('mail', 'smtp+starttls://mail:25');
  expect(s.flag).toBe("--check 'mail=smtp+starttls://mail:25'");
  expect(s.settings).toBe('checks:\n  mail:\n    url: "smtp+starttls://mail:25"\n');
  expect(s.nix).toBe('checks."mail".url = "smtp+starttls://mail:25";');
  expect(wrongURL('cloud.example.org') !== '').toBe(true);
  expect(wrongURL('ping://10.0.0.9')).toBe('');
});
