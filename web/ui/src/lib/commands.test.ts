import { expect, test } from 'vitest';
import { commandsOf, wordsOf } from './commands';

const machines = [
  { name: 'alpha', tags: ['web'] },
  { name: 'beta', tags: ['web'] },
  { name: 'betamax' },
  { name: 'old', labelled: false },
  { name: '-rf;x' },
];
const says = (text: string) => commandsOf(text, machines).map(wordsOf);

test('silence names a machine, a time and a reason', () => {
  expect(commandsOf('silence beta 2h new disk', machines)).toEqual([
    { do: 'silence', machine: 'beta', seconds: 7200, reason: 'new disk' },
  ]);
  expect(says('mute beta')).toEqual(['Silence beta for 2h']);
  expect(says('silence bet 30m')).toEqual(['Silence beta for 30m', 'Silence betamax for 30m']);
  expect(commandsOf('silence old', machines)[0]).toMatchObject({ refused: 'its alerts have no label machine' });
  expect(says('silence nobody 2h')).toEqual([]);
  expect(says('silence')).toEqual([]);
  expect(commandsOf('silence beta 0s', machines)[0]).toMatchObject({ seconds: 7200 });
});

test('compare names machines or a tag, and a range', () => {
  expect(commandsOf('compare alpha beta 7d', machines)).toEqual([
    { do: 'compare', machines: ['alpha', 'beta'], range: '7d' },
  ]);
  expect(commandsOf('compare web', machines)).toEqual([{ do: 'compare', machines: [], tag: 'web' }]);
  expect(says('compare alpha')).toEqual([]);
  expect(says('compare alpha alpha')).toEqual([]);
});

test('range', () => {
  expect(says('range 7d')).toEqual(['Last 7d']);
  expect(says('range tomorrow')).toEqual([]);
});

test('a machine, its pages and charts, and what one can do with it', () => {
  const beta = says('beta');
  expect(beta[0]).toBe('beta: Overview');
  expect(beta).toContain('beta: Journal');
  expect(beta).toContain('Silence beta for 2h');
  expect(beta).toContain('Copy ssh beta');
  expect(says('alpha memory 24h')).toEqual(['alpha: Memory, last 24h', 'alpha: Units by memory, last 24h']);
  expect(commandsOf('alpha units memory 24h', machines)).toEqual([
    { do: 'open', machine: 'alpha', what: 'Units by memory', chart: 'units-by-memory', range: '24h' },
  ]);
  expect(says('bet')).toEqual([]); // machines of that name are in the list
  expect(says('ssh beta')).toEqual(['Copy ssh beta']);
});

test('a name that a shell would not take as it is is not copied', () => {
  expect(says('ssh -rf;x')).toEqual([]);
});
