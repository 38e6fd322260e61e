import { expect, test } from 'vitest';
import { fits } from './alertMatchers';
import { bulk, factored, MOST_BYTES, openedOn } from './bulk';

const row = (name: string, labelled = true) => ({ name, labelled });
const fleet = Array.from({ length: 1000 }, (_, i) =>
  row(`${['web', 'app', 'db', 'x.y'][i % 4]}-${['ams', 'fra', 'hel'][i % 3]}-${String(i).padStart(3, '0')}`),
);

test('one machine, a few, and a tag', () => {
  expect(bulk([row('a')], '').matchers).toEqual([{ name: 'machine', value: 'a', isRegex: false, isEqual: true }]);
  expect(bulk([row('a'), row('b.c')], '').matchers[0]).toMatchObject({ value: 'a|b\\.c', isRegex: true });
  const tag = bulk([row('a'), row('b')], 'w.b').matchers;
  expect(tag).toEqual([{ name: 'tags', value: '.*,w\\.b,.*', isRegex: true, isEqual: true }]);
  expect(fits(tag[0]!, { tags: ',x,w.b,' })).toBe(true);
  expect(fits(tag[0]!, { tags: ',wab,' })).toBe(false);
});

test('a thousand machines fit, and only they', () => {
  const some = fleet.filter((_, i) => i % 3 !== 1);
  const b = bulk(some, '');
  expect(b.error).toBe('');
  expect(b.matchers[0]!.value.length).toBeLessThanOrEqual(MOST_BYTES);
  const inside = new Set(some.map((r) => r.name));
  const wrong = fleet.filter(({ name }) => fits(b.matchers[0]!, { machine: name }) !== inside.has(name));
  expect(wrong).toEqual([]);
  for (const other of ['', 'web', 'web-ams-000x', 'xweb-ams-000', 'xay-ams-003'])
    expect(fits(b.matchers[0]!, { machine: other }), other).toBe(false);
  expect(bulk(fleet, '').error).toBe('');
});

test('names that begin alike, and odd ones', () => {
  const names = ['a', 'ab', 'abc', 'a-1', 'a-2', 'a-3', 'b', 'ünï', 'x]y', 'x^y', 'x\\y', 'x-y', 'x.y', 'x*y'];
  const re = new RegExp(`^(?:${factored(names)})$`);
  for (const n of names) expect(re.test(n), n).toBe(true);
  for (const n of ['', 'abcd', 'a-', 'a-4', 'xy', 'x_y', 'xay', 'c']) expect(re.test(n), n).toBe(false);
});

test('what is too long, or has no label, is said', () => {
  const odd = Array.from({ length: 900 }, (_, i) =>
    row(((i * 2654435761) % 2 ** 32).toString(36) + (i * 7919).toString(36)),
  );
  expect(bulk(odd, '').error).toMatch(/^The names of 900 machines take \d+ bytes\. A silence has room for 4096\. /);
  expect(bulk(odd, '').matchers).toEqual([]);
  expect(bulk(odd, 'web').error).toBe('');
  expect(bulk([row('a'), row('b', false)], '')).toMatchObject({ without: 1, error: '' });
  expect(bulk([row('b', false)], '').error).toMatch(/no label/);
});

test('what was shown when the form opened does not change with the rows', () => {
  const rows = [row('a'), row('b'), row('c', false)];
  const o = openedOn(rows, { q: 'x', tag: '', show: '' });
  rows.length = 0;
  expect(o).toMatchObject({ count: 3, filtered: true, bulk: { without: 1, matchers: [{ value: 'a|b' }] } });
  expect(openedOn([row('a')], { q: '', tag: '', show: '' }).filtered).toBe(false);
  expect(openedOn([row('a')], { q: '', tag: '', show: 'down' }).filtered).toBe(true);
  // Only the tag: the silence is by tag.
  expect(openedOn([row('a')], { q: '', tag: 'web', show: '' }).bulk.matchers[0]).toMatchObject({ name: 'tags' });
  expect(openedOn([row('a')], { q: 'a', tag: 'web', show: '' }).bulk.matchers[0]).toMatchObject({ name: 'machine' });
});
