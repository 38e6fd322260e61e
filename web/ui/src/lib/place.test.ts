import { expect, test } from 'vitest';
import { inProcess, placeOf } from './place';

test('what the server scrapes of itself is at no address', () => {
  expect(placeOf('http://clanmon.in-process.invalid:80/metrics')).toBe('this process');
  expect(placeOf('node.in-process.invalid')).toBe('this process');
  expect(placeOf('http://a:9100/metrics')).toBe('a:9100/metrics');
  expect(placeOf('https://a:9100/metrics')).toBe('https://a:9100/metrics');
  expect(inProcess('http://in-process.invalid.example.org/')).toBe(false);
});
