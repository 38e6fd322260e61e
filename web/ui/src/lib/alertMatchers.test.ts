import { expect, test } from 'vitest';
import { fits, matcher, parseMatchers, printMatcher, problemOf } from './alertMatchers';

test('a regular expression has to fit the whole value', () => {
  expect(fits(matcher('m', 'web', '=~'), { m: 'web1' })).toBe(false);
  expect(fits(matcher('m', 'web|db', '=~'), { m: 'db' })).toBe(true);
  expect(fits(matcher('m', 'web|db', '=~'), { m: 'adb' })).toBe(false); // ^web|db$ would match
  expect(fits(matcher('m', 'web.*', '!~'), { m: 'web1' })).toBe(false);
  expect(fits(matcher('m', '(?i)WEB.*', '=~'), { m: 'web1' })).toBe(true);
});

test('a missing label is empty', () => {
  expect(fits(matcher('m', ''), {})).toBe(true);
  expect(fits(matcher('m', 'x', '!='), {})).toBe(true);
  expect(fits(matcher('m', '.+', '=~'), {})).toBe(false);
  expect(fits(matcher('m', '(', '=~'), { m: '(' })).toBe(false); // cannot be read, matches nothing
});

test('what is written can be read again', () => {
  for (const m of [
    matcher('a', 'b'),
    matcher('a', 'say "hi", {x}=\\d\n', '=~'),
    matcher('a', '', '!='),
    matcher('dotted.name', 'ü', '!~'),
  ]) {
    expect(parseMatchers(printMatcher(m))).toEqual([m]);
  }
  const all = [matcher('a', 'b,c'), matcher('d', 'e', '!~')];
  expect(parseMatchers(`{${all.map(printMatcher).join(', ')}}`)).toEqual(all);
});

test('what people and amtool write is read', () => {
  expect(parseMatchers('alertname=MachineDown, machine =~ "web.*"')).toEqual([
    matcher('alertname', 'MachineDown'),
    matcher('machine', 'web.*', '=~'),
  ]);
  expect(parseMatchers('{}')).toEqual([]);
  expect(parseMatchers('path="C:\\\\x\\d"')).toEqual([matcher('path', 'C:\\x\\d')]);
  for (const bad of ['machine', 'a="b', '="x"', 'a="b" c="d"', '{a="b"', 'a="b"x'])
    expect(parseMatchers(bad), bad).toHaveProperty('error');
});

test('a silence for everything is refused', () => {
  expect(problemOf([])).not.toBe('');
  expect(problemOf([matcher('a', '.*', '=~'), matcher('b', 'c', '!=')])).toMatch(/everything/);
  expect(problemOf([matcher('a', '(', '=~')])).toMatch(/\(/);
  expect(problemOf([matcher('a', '.*', '=~'), matcher('b', 'c')])).toBe('');
});
