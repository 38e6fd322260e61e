import { expect, test } from 'vitest';
import { apply, healthy, inOrder, matches, shortSystem, shows, whole, whyOf, type FleetRow, type Store } from './fleet';

const row = (name: string, more: Partial<FleetRow> = {}): FleetRow => ({
  name,
  state: 'ok',
  up: 1,
  targets: 1,
  ...more,
});
const answer = (more = {}) => ({ cursor: '1', time: 1000, started: 900, rows: [], ...more });

test('answers are applied one after another, and rows that did not change stay the same objects', () => {
  let s: Store = apply(undefined, answer({ full: true, rows: [row('b10'), row('b2'), row('a')] }));
  expect(s.rows.map((r) => r.name)).toEqual(['a', 'b2', 'b10']);
  const [a, b2] = s.rows;
  s = apply(s, answer({ cursor: '2', rows: [row('b2', { state: 'down' })], gone: ['b10'], notices: [] }));
  expect(s.rows.map((r) => [r.name, r.state])).toEqual([
    ['a', 'ok'],
    ['b2', 'down'],
  ]);
  expect(s.rows[0]).toBe(a);
  expect(s.rows[1]).not.toBe(b2);
  const quiet = apply(s, answer({ cursor: '3', time: 1030 }));
  expect(quiet.rows).toBe(s.rows); // nothing is drawn anew
  expect(quiet).toMatchObject({ cursor: '3', time: 1030 });
  expect(apply(s, answer({ full: true, rows: [row('new')] })).rows.map((r) => r.name)).toEqual(['new']);
});

test('worst first, and of those that are down the newest first', () => {
  const rows = [
    row('fine', { since: '2026-11-28T09:00:00Z' }),
    row('old', { state: 'down', since: '2026-11-28T06:00:00Z' }),
    row('hot', { state: 'critical', since: '2026-11-28T08:30:00Z' }),
    row('fresh', { state: 'down', since: '2026-11-28T08:00:00Z' }),
    row('lap', { state: 'offline', since: '2026-11-28T08:59:00Z' }),
    row('free', { state: 'unjudged' }),
  ];
  expect(rows.sort((a, b) => inOrder(a) - inOrder(b)).map((r) => r.name)).toEqual([
    'fresh',
    'old',
    'hot',
    'free',
    'fine',
    'lap',
  ]);
});

test('an alert that fired before the restart says that it is being checked', () => {
  expect(whyOf({ state: 'critical', why: '/ is 99 % full', checking: true })).toBe(
    '/ is 99 % full (checking since restart)',
  );
  expect(whyOf({ state: 'critical', why: '/ is 99 % full' })).toBe('/ is 99 % full');
  expect(whyOf({ state: 'ok', checking: true })).toBe('');
});

test('healthy is only what was judged and is not muted', () => {
  expect(healthy(row('a'))).toBe(true);
  expect(healthy(row('a', { state: 'unjudged' }))).toBe(false);
  expect(healthy(row('a', { checking: true }))).toBe(false);
  expect(healthy(row('a', { silenced: [{ id: '1', until: '', by: '', comment: '', whole: true }] }))).toBe(false);
});

test('filters: what is not known passes none of them', () => {
  expect(shows(row('a', { unitsFailed: 2 }), 'units')).toBe(true);
  expect(shows(row('a'), 'units')).toBe(false);
  expect(shows(row('a', { unitsFailed: 2, up: 0 }), 'units')).toBe(false); // of before it went away
  const silenced = row('a', { silenced: [{ id: '1', until: '', by: 'me', comment: '', whole: true }] });
  expect(shows(silenced, 'silenced') && whole(silenced)).toBe(true);
  expect(shows(row('a', { silenced: [] }), 'silenced')).toBe(false);
  expect(matches(row('web1', { tags: ['edge'], why: '2 failed units' }), 'WEB failed')).toBe(true);
  expect(matches(row('web1'), 'db')).toBe(false);
});

test('of the name of a system the version is what has to be read', () => {
  expect(
    ['Debian GNU/Linux 12 (bookworm)', 'NixOS 26.05 (Yarara)', 'Ubuntu 24.04.3 LTS', 'Arch Linux'].map(shortSystem),
  ).toEqual(['Debian 12', 'NixOS 26.05', 'Ubuntu 24.04.3', 'Arch Linux']);
});
