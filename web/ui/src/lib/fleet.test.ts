import { expect, test } from 'vitest';
import type { Alert } from '../api/types/alerts';
import type { Machine } from '../api/types/machines';
import { matches, mergeFleet, shortSystem, shows } from './fleet';

const machine = (
  name: string,
  health: ('up' | 'down' | 'unknown')[],
  availability: Machine['availability'] = 'always',
): Machine => ({
  machine: name,
  availability,
  tags: ['web'],
  sources: ['static'],
  addresses: [],
  targets: health.map((h, i) => ({
    job: ['node', 'systemd'][i]!,
    instance: `${name}:${i}`,
    address: '',
    health: h,
    ...(h === 'down' && { lastError: 'connection refused' }),
  })),
});
const alert = (name: string, severity: string, state: Alert['status']['state'] = 'active'): Alert => ({
  labels: { alertname: 'X', machine: name, severity },
  annotations: { summary: `${name}: ${severity} of ${name}` },
  startsAt: '',
  endsAt: '',
  updatedAt: '',
  fingerprint: '',
  receivers: [],
  status: { state, silencedBy: [], inhibitedBy: [] },
});
const sample = (name: string, m: string, v: number, more = {}) => ({
  metric: { __name__: name, machine: m, ...more },
  value: [0, String(v)] as [number, string],
});

test('a machine is as bad as the worst that is known of it', () => {
  const rows = mergeFleet(
    [
      machine('gone', ['down', 'down']),
      machine('lap', ['down'], 'intermittent'),
      machine('half', ['up', 'down']),
      machine('new', ['unknown']),
      machine('full', ['up', 'up']),
      machine('fine', ['up', 'up']),
      machine('quiet', ['up']),
    ],
    [sample('machine:cpu_used:ratio', 'fine', 0.25), sample('machine:units_failed:count', 'fine', 0)],
    [
      sample('node_os_info', 'fine', 1, { pretty_name: 'NixOS 26.05' }),
      sample('clanmon_nixos_kernel_current', 'fine', 0),
    ],
    [],
    [alert('full', 'critical'), alert('quiet', 'critical', 'suppressed'), alert('fine', 'info')],
  );
  const state = Object.fromEntries(rows.map((r) => [r.name, r.state]));
  expect(state).toEqual({
    gone: 'down',
    lap: 'offline',
    half: 'warning',
    new: 'waiting',
    full: 'critical',
    fine: 'ok',
    quiet: 'ok',
  });
  const fine = rows.find((r) => r.name === 'fine')!;
  expect(fine).toMatchObject({ cpu: 0.25, os: 'NixOS 26.05', reboot: true, why: 'info of fine' });
  expect(rows.find((r) => r.name === 'gone')!.why).toBe('connection refused');
  expect(rows.find((r) => r.name === 'half')!.why).toBe('systemd does not answer');
});

test('recording rules win over the fallback, figures of unknown machines are ignored', () => {
  const [r] = mergeFleet(
    [machine('a', ['up'])],
    [sample('machine:cpu_used:ratio', 'a', 0.5), sample('machine:cpu_used:ratio', 'ghost', 1)],
    [],
    [sample('', 'a', 0.1, { figure: 'cpu' }), sample('', 'a', 0.7, { figure: 'memory' })],
    [],
  );
  expect(r).toMatchObject({ cpu: 0.5, memory: 0.7 });
});

test('the worst alert says what is wrong, not the first one of the list', () => {
  const of = (...alerts: Alert[]) => mergeFleet([machine('m', ['up'])], [], [], [], alerts)[0]!;
  const later = {
    ...alert('m', 'warning'),
    startsAt: '2026-11-25T02:00:00Z',
    annotations: { summary: 'm: the later one' },
  };
  expect(of(alert('m', 'info'), alert('m', 'warning'), later)).toMatchObject({ state: 'warning', why: 'warning of m' });
  expect(of(later, alert('m', 'info'), alert('m', 'critical'))).toMatchObject({
    state: 'critical',
    why: 'critical of m',
  });
  expect(of({ ...alert('m', 'info'), annotations: { summary: 'm was last updated a year ago' } }).why).toBe(
    'was last updated a year ago',
  );
  expect(of(alert('m', 'none'))).toMatchObject({ state: 'ok', why: '' });
});

test('a machine counts once in the strip of problems', () => {
  const rows = mergeFleet(
    [machine('gone', ['down']), machine('full', ['up'])],
    [],
    [],
    [],
    [alert('gone', 'critical'), alert('full', 'critical'), alert('full', 'warning')],
  );
  expect(['down', 'critical', 'warning'].map((s) => rows.filter((r) => shows(r, s)).map((r) => r.name))).toEqual([
    ['gone'],
    ['full'],
    [],
  ]);
});

test('of the name of a system the version is what has to be read', () => {
  expect(
    ['Debian GNU/Linux 12 (bookworm)', 'NixOS 26.05 (Yarara)', 'Ubuntu 24.04.3 LTS', 'Arch Linux'].map(shortSystem),
  ).toEqual(['Debian 12', 'NixOS 26.05', 'Ubuntu 24.04.3', 'Arch Linux']);
});

test('a machine that is away has no figures of now', () => {
  const of = (past: boolean) =>
    mergeFleet([machine('m', ['down'])], [sample('machine:cpu_used:ratio', 'm', 0.5)], [], [], [], past)[0]!.cpu;
  expect(of(false)).toBeUndefined();
  expect(of(true)).toBe(0.5);
});

test('filters', () => {
  const [r] = mergeFleet([machine('web1', ['up'])], [sample('machine:units_failed:count', 'web1', 2)], [], [], []);
  expect(shows(r!, 'units')).toBe(true);
  expect(shows(r!, 'down')).toBe(false);
  expect(matches(r!, 'WEB failed')).toBe(true);
  expect(matches(r!, 'db')).toBe(false);
});
