import { expect, test } from 'vitest';
import type { OtherMachine } from '../api/types/machines';
import { countText, isHere, isWhere, otherSparkQuery, rowOf, silentSites } from './elsewhere';
import { hasTag, matches, type FleetRow } from './fleet';

const other = (more: Partial<OtherMachine> = {}): OtherMachine => ({
  name: 'beta@office',
  machine: 'beta',
  site: 'office',
  tags: ['site=office'],
  selector: 'machine="beta",site="office"',
  state: 'ok',
  why: '',
  judged: true,
  up: 1,
  targets: 1,
  critical: 0,
  warning: 0,
  info: 0,
  heard: '2026-11-28T09:00:00Z',
  figures: { cpu: 0.25 },
  ...more,
});
const own: FleetRow = { name: 'beta', state: 'ok', up: 1, targets: 1 };

test('a machine of another server is a row of the table with its site as a tag', () => {
  const r = rowOf(other());
  expect(r).toMatchObject({ name: 'beta@office', machine: 'beta', site: 'office', cpu: 0.25, state: 'ok' });
  expect(r.lastSeen).toBeUndefined();
  expect(hasTag(r, 'site=office')).toBe(true);
  expect(matches(r, 'beta office')).toBe(true);
  expect(rowOf(other({ up: 0, state: 'down' })).lastSeen).toBeUndefined();
  expect(rowOf(other({ up: 0, targets: 0, state: 'down' })).lastSeen).toBe('2026-11-28T09:00:00Z');
});

test('machines here and elsewhere are told apart and counted apart', () => {
  const rows = [own, rowOf(other()), rowOf(other({ name: 'hot@cellar' }))];
  expect(countText(rows)).toBe('1 machine here, 2 elsewhere');
  expect(rows.map(isHere)).toEqual([true, false, false]);
  expect(rows.filter((r) => isWhere(r, 'here'))).toEqual([own]);
  expect(rows.filter((r) => isWhere(r, 'elsewhere')).length).toBe(2);
  expect(rows.filter((r) => isWhere(r, '')).length).toBe(3);
});

test('every selector of the CPU lines names the site', () => {
  const q = otherSparkQuery([rowOf(other()), rowOf(other({ name: 'hot@cellar', judged: false }))]);
  expect(q).toBe(
    'label_replace(max(machine:cpu_used:ratio{machine="beta",site="office"}), "machine", "beta@office", "", "") or ' +
      'label_replace(sum(rate(node_cpu_seconds_total{machine="beta",site="office",mode!~"idle|iowait|steal"}[4m])) / ' +
      'sum(rate(node_cpu_seconds_total{machine="beta",site="office"}[4m])), "machine", "hot@cellar", "", "")',
  );
});

test('a site of which nothing is heard is said once', () => {
  const gone = (name: string, site: string, heard: string) =>
    rowOf(other({ name, site, heard, up: 0, targets: 0, state: 'down' }));
  expect(
    silentSites([
      own,
      gone('a@office', 'office', '2026-11-28T09:00:00Z'),
      gone('b@office', 'office', '2026-11-28T09:05:00Z'),
      gone('c@cellar', 'cellar', '2026-11-28T09:05:00Z'),
      rowOf(other({ name: 'd@cellar', site: 'cellar', up: 0 })),
    ]),
  ).toEqual([{ site: 'office', since: Date.parse('2026-11-28T09:05:00Z') / 1000 }]);
});
