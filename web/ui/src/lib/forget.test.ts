import { expect, test } from 'vitest';
import type { Machine, MachineTarget } from '../api/types/machines';
import { cannotForget } from './forget';

const target = (t: Partial<MachineTarget>): MachineTarget => ({
  job: 'node',
  instance: 'a:9100',
  address: 'a:9100',
  health: 'down',
  ...t,
});
const of = (...targets: MachineTarget[]) => ({ machine: 'a', state: 'down', targets }) as Machine;

test('what would come straight back is not offered to be forgotten', () => {
  const methods = [{ method: 'inventory', from: '/etc/fleet.json', jobs: ['node'] }];
  expect(cannotForget(of(target({ method: 'inventory' })), methods)).toBe(
    'a:9100 (job node) is listed in /etc/fleet.json: remove it there.',
  );
  expect(cannotForget(of(target({ method: 'config', job: 'own' })), methods)).toBe(
    'a:9100 (job own) is listed in the configuration file: remove it there.',
  );
  expect(cannotForget(of(target({ method: 'tailscale', health: 'up' })), methods)).toContain('responds');
  expect(cannotForget(of(target({ method: 'local' })), methods)).toContain('is part of this server');
  // All or nothing, but of one target only that one counts.
  const gone = target({ method: 'tailscale', forgettable: true });
  expect(cannotForget(of(gone), methods)).toBe('');
  expect(cannotForget(of(gone, target({ method: 'inventory', job: 'redis' })), methods)).toContain('redis');
  const both = of(gone, target({ method: 'inventory', job: 'redis' }));
  expect(cannotForget(both, methods, { job: 'node', instance: 'a:9100' })).toBe('');
  // What is fed can be forgotten once nothing arrives.
  const fed = of(target({ method: 'stored', health: 'up' }));
  expect(cannotForget(fed, methods)).toBe('');
  expect(cannotForget({ ...fed, state: 'ok' }, methods)).toContain('remove it there');
});
