import { expect, test } from 'vitest';
import { shortError } from './errors';

test('scrape errors without what the reader knows', () => {
  expect(shortError('Get "http://127.0.0.4:1/metrics": dial tcp 127.0.0.4:1: connect: connection refused')).toBe(
    'connection refused',
  );
  expect(shortError('Get "http://x/metrics": context deadline exceeded')).toBe('context deadline exceeded');
  expect(shortError('server returned HTTP status 401 Unauthorized')).toBe(
    'server returned HTTP status 401 Unauthorized',
  );
  expect(shortError('Get "http://x/metrics": EOF')).toBe('connection closed (empty reply)');
  expect(shortError('Get "http://alpha:9100/metrics": dial tcp: lookup alpha on 10.255.255.53:53: no such host')).toBe(
    'name alpha not found',
  );
  expect(shortError(undefined)).toBe('');
});
