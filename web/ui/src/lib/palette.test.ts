import { expect, test } from 'vitest';
import { chosen, found } from './palette';

const items = [
  { text: 'Alerts', kind: 'page' },
  { text: 'vm', kind: 'machine' },
  { text: 'bk-a-c-k-u-p', kind: 'machine' },
  { text: 'backup.service', kind: 'unit' },
  { text: 'backup.timer', kind: 'unit' },
  { text: 'var-lib-backup.mount', kind: 'unit' },
  { text: 'backup_size_bytes', kind: 'metric' },
  { text: 'BackendDown', kind: 'rule' },
  { text: 'node_vmstat_pgfault', kind: 'metric' },
];
const texts = (q: string) => found(items, q).map((i) => i.text);

test('backup finds the timer first, then what has it in its name, then metrics', () => {
  expect(texts('backup').slice(0, 4)).toEqual([
    'backup.timer',
    'backup.service',
    'var-lib-backup.mount',
    'backup_size_bytes',
  ]);
  expect(texts('backup').at(-1)).toBe('bk-a-c-k-u-p'); // letters in order, of a machine
  expect(texts('backup.mount')).toEqual(['var-lib-backup.mount']);
});

test('finds machines, pages, alerts and metrics, and nothing that does not exist', () => {
  expect(texts('vm')[0]).toBe('vm');
  expect(texts('backenddown')[0]).toBe('BackendDown');
  expect(texts('vmstat')).toEqual(['node_vmstat_pgfault']);
  expect(texts('zebra')).toEqual([]);
});

test('what was chosen recently comes before what fits as well', () => {
  expect(found(items, 'backup', ['unit backup.service'])[0]!.text).toBe('backup.service');
  expect(chosen(['a', 'b', 'c'], 'b', 3)).toEqual(['b', 'a', 'c']);
});

test('an alert is found by what it says, after what has that name', () => {
  const all = [...items, { text: 'FilesystemFull', kind: 'alert', also: 'web1: the backup disk is full' }];
  expect(found(all, 'backup').at(-2)!.text).toBe('FilesystemFull');
  expect(found(all, 'disk is full').map((i) => i.text)).toEqual(['FilesystemFull']);
});
