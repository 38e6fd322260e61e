import { expect, test } from 'vitest';
import { contradiction, saysOf, troubled, type Pair, type Peer } from './pair';

const peer = (more: Partial<Peer>): Peer => ({
  name: 'r1',
  url: 'https://r1.example.org',
  version: '1',
  machines: 3,
  states: { a: 'down' },
  address: '10.0.0.2:9094',
  reachable: true,
  sameMachines: true,
  differences: [],
  ...more,
});
const pair = (more: Partial<Peer>): Pair => ({ enabled: true, peers: [peer(more)] });

test('a peer says what it says, and no more', () => {
  expect(saysOf(peer({}), 'a')).toBe('down');
  expect(saysOf(peer({}), 'b')).toBe('ok');
  expect(saysOf(peer({ states: { b: 'unjudged' } }), 'b')).toBe('unjudged');
  expect(saysOf(peer({ sameMachines: false }), 'b')).toBeUndefined();
  expect(saysOf(peer({ sameMachines: false, ok: ['b', 'c'] }), 'b')).toBe('ok');
  expect(saysOf(peer({ sameMachines: false, ok: ['b', 'c'] }), 'd')).toBe('absent');
  expect(saysOf(peer({ sameMachines: false, machines: 1 }), 'd')).toBe('absent');
  expect(saysOf(peer({ sameMachines: false, machines: 1, cut: true }), 'd')).toBeUndefined();
  expect(saysOf(peer({ cut: true }), 'b')).toBeUndefined();
  expect(saysOf(peer({ reachable: false }), 'a')).toBeUndefined();
  expect(saysOf(peer({ name: '' }), 'b')).toBeUndefined();
});

test('only what contradicts is shown', () => {
  expect(contradiction(pair({}), 'a', 'down')).toEqual([]);
  expect(contradiction(pair({}), 'b', 'ok')).toEqual([]);
  expect(contradiction(pair({}), 'b', 'down')).toEqual([{ name: 'r1', says: 'ok' }]);
  expect(contradiction(pair({}), 'a', 'ok')).toEqual([{ name: 'r1', says: 'down' }]);
  expect(contradiction(pair({}), 'a', 'unjudged')).toEqual([]);
  expect(contradiction(pair({ sameMachines: false, machines: 1 }), 'b', 'ok')).toEqual([
    { name: 'r1', says: 'absent' },
  ]);
  expect(contradiction(undefined, 'a', 'ok')).toEqual([]);
});

test('counts problems', () => {
  expect(troubled(peer({}))).toBe('1 with problems');
  expect(troubled(peer({ states: {} }))).toBe('no problems');
  expect(troubled(peer({ states: { a: 'offline' } }))).toBe('no problems');
  expect(troubled(peer({ cut: true }))).toBe('1 or more with problems');
  expect(troubled(peer({ states: {}, cut: true }))).toBe('no known problems');
});
