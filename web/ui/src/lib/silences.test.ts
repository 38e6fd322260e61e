import { expect, test } from 'vitest';
import type { Silence } from '../api/types/alerts';
import { matcher } from './alertMatchers';
import {
  bySoonest,
  fieldOf,
  filled,
  muted,
  narrowing,
  prefilled,
  reach,
  readEnd,
  refusal,
  tomorrowAtNine,
} from './silences';

test('until tomorrow is nine in the morning of the next day, by the clock that is shown', () => {
  const late = Date.UTC(2026, 10, 30, 23, 59) / 1000;
  expect(tomorrowAtNine(late, true)).toBe(Date.UTC(2026, 11, 1, 9) / 1000);
  expect(tomorrowAtNine(Date.UTC(2026, 10, 30, 0, 1) / 1000, true)).toBe(Date.UTC(2026, 11, 1, 9) / 1000);
  const local = new Date(tomorrowAtNine(late, false) * 1000);
  expect([local.getHours(), local.getMinutes()]).toEqual([9, 0]);
});

test('an end is a duration or a time', () => {
  expect(readEnd('2h', 1000, true)).toBe(8200);
  expect(readEnd('2026-11-25 10:00', 1000, true)).toBe(Date.UTC(2026, 10, 25, 10) / 1000);
  expect(readEnd('soon', 1000, true)).toBeUndefined();
});

test('a silence begins with what and where, and can be narrowed by the rest but the tags', () => {
  const l = { alertname: 'UnitFailed', machine: 'a', instance: 'a:9', name: 'x', tags: ',web,' };
  expect(prefilled(l)).toEqual([matcher('alertname', 'UnitFailed'), matcher('machine', 'a')]);
  expect(prefilled({ alertname: 'X', instance: 'a:9' })).toEqual([
    matcher('alertname', 'X'),
    matcher('instance', 'a:9'),
  ]);
  expect(narrowing(l, prefilled(l)).map((m) => m.name)).toEqual(['instance', 'name']);
});

test('no matcher mutes nothing', () => {
  const alerts = [{ labels: { machine: 'a' } }, { labels: { machine: 'b' } }];
  expect(muted(alerts, [])).toEqual([]);
  expect(muted(alerts, [matcher('machine', 'a')])).toEqual([alerts[0]]);
});

test('what ends first comes first, of what has ended the latest', () => {
  const s = (id: string, state: Silence['status']['state'], end: number): Silence => ({
    id,
    status: { state },
    matchers: [],
    startsAt: new Date(end - 1).toISOString(),
    endsAt: new Date(end).toISOString(),
    updatedAt: '',
    createdBy: '',
    comment: '',
  });
  const list = [
    s('old', 'expired', 10),
    s('late', 'active', 90),
    s('new', 'expired', 20),
    s('soon', 'active', 50),
    s('next', 'pending', 99),
  ];
  expect(list.sort(bySoonest).map((x) => x.id)).toEqual(['soon', 'late', 'next', 'new', 'old']);
});

test('an answer of the server is shown at its field', () => {
  expect(fieldOf('invalid silence: at least one matcher must not match the empty string')).toBe('matchers');
  expect(fieldOf('Failed to create silence: end time must be in the future')).toBe('end');
  expect(fieldOf('start time must not be after end time')).toBe('end');
  expect(fieldOf('createdBy in body is required')).toBe('author');
  expect(fieldOf('no space left on device')).toBe('form');
});

test('a row without a value is never sent', () => {
  const severity = matcher('severity', 'warning');
  expect(filled([matcher('machine', ''), severity, matcher('', ''), matcher('name', '.*', '=~')])).toEqual([
    severity,
    matcher('name', '.*', '=~'),
  ]);
  expect(refusal([severity])).toBe('');
  expect(refusal([])).toContain('Add a matcher');
  expect(refusal([matcher('machine', '')])).toContain('machine has no value');
  expect(refusal([matcher('machine', ''), severity])).toContain('machine has no value');
  expect(refusal([matcher('', 'x'), severity])).toContain('label name');
  expect(refusal([matcher('', ''), severity])).toBe('');
  // One that a silence had already is kept, but for machine="", which mutes nothing.
  const none = matcher('severity', '');
  expect(refusal([none, matcher('alertname', 'A')])).toContain('severity has no value');
  expect(refusal([none, matcher('alertname', 'A')], [none])).toBe('');
  expect(refusal([matcher('machine', ''), severity], [matcher('machine', '')])).toContain('machine has no value');
  expect(refusal([matcher('machine', '.*', '=~')])).toContain('match everything');
});

test('what a silence covers is known where nothing fires', () => {
  const fleet = [
    { name: 'alpha', tags: ['web', 'prod'] },
    { name: 'beta', tags: null },
    { name: 'old', labelled: false },
  ];
  const rules = ['MachineDown', 'UnitFailed'];
  expect(reach([matcher('machine', 'beta')], fleet, rules)).toEqual({ machines: ['beta'], narrowed: [], unknown: [] });
  expect(reach([matcher('tags', '.*,web,.*', '=~')], fleet, rules).machines).toEqual(['alpha']);
  expect(reach([matcher('severity', 'warning')], fleet, rules)).toEqual({
    machines: undefined,
    narrowed: [matcher('severity', 'warning')],
    unknown: [],
  });
  expect(reach([matcher('machine', 'bta')], fleet, rules).unknown).toEqual(['No machine matches machine="bta".']);
  expect(reach([matcher('machine', 'old')], fleet, rules).machines).toEqual([]);
  expect(reach([matcher('alertname', 'Machine.*', '=~')], fleet, rules).unknown).toEqual([]);
  expect(reach([matcher('alertname', 'MachineDwn')], fleet, rules).unknown).toEqual([
    'No rule matches alertname="MachineDwn".',
  ]);
});
