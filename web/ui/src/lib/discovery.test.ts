import { expect, test } from 'vitest';
import { lookUp } from './discovery';

const d = {
  methods: [],
  waiting: [
    {
      job: 'node',
      machine: 'printer',
      instance: 'printer:9100',
      address: '10.0.0.9:9100',
      method: 'dns',
      reason: 'refused',
      attempts: 3,
    },
    {
      job: 'systemd',
      machine: 'printer',
      instance: 'printer:9558',
      address: '10.0.0.9:9558',
      method: 'dns',
      reason: 'refused',
      attempts: 3,
    },
  ],
  leftOut: [{ device: 'phone', method: 'tailscale', reason: 'is a phone' }],
  refused: [{ entry: 'bad name!', method: 'inventory', reason: 'a name has letters, digits and hyphens' }],
};

test('says of each thing that is not listed why it is not', () => {
  expect(lookUp(d, 'PRIN')).toEqual([{ name: 'printer', why: 'found by dns, refused' }]);
  expect(lookUp(d, '10.0.0.9')).toHaveLength(1);
  expect(lookUp(d, 'phone')).toEqual([{ name: 'phone', why: 'found by tailscale, left out: is a phone' }]);
  expect(lookUp(d, 'bad')[0]!.why).toContain('invalid entry of inventory');
  expect(lookUp(d, 'nothing')).toEqual([]);
  expect(lookUp(undefined, 'x')).toEqual([]);
});
