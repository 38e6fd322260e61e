import { expect, test } from 'vitest';
import { withMatcher } from './matchers';

test('a matcher goes into every selector', () => {
  expect(withMatcher('sum by (job) (rate(a[5m])) / {x="y"}', 'machine', '=', 'alpha')).toBe(
    'sum by (job) (rate(a{machine="alpha"}[5m])) / {x="y", machine="alpha"}',
  );
  expect(withMatcher('up{machine!="b",job="node"} offset 5m', 'machine', '=~', 'a|c')).toBe(
    'up{job="node", machine=~"a|c"} offset 5m',
  );
  expect(withMatcher('{"my.metric", "machine"="x", "a.b"="c"}', 'machine', '=', 'alpha')).toBe(
    '{"my.metric", "a.b"="c", machine="alpha"}',
  );
  expect(withMatcher('{"up", job="n"}', 'machine', '=', 'a"b')).toBe('{"up", job="n", machine="a\\"b"}');
});

test('and out again; labels of groupings are no selectors', () => {
  expect(withMatcher('sum by (machine) (up{machine="a"}) + foo{}', 'machine', '=', '')).toBe(
    'sum by (machine) (up) + foo',
  );
  expect(withMatcher('vector(1)', 'machine', '=', 'a')).toBe('vector(1)');
});
