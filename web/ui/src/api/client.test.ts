import { afterEach, expect, test, vi } from 'vitest';

vi.mock('../state/config', () => ({ prefix: '' }));

import { connection, history, lacksHistory, request } from './client';

afterEach(() => vi.unstubAllGlobals());

const answers = (status: number, body: string, headers: Record<string, string> = {}) =>
  vi.stubGlobal('fetch', async () => new Response(body, { status, headers }));

test('a server that cannot start yet says why, and replaying its WAL does not mean that it is ready', async () => {
  const stopping = { 'X-Prometheus-Stopping': 'false' };
  answers(503, 'Service Unavailable: disk full: opening "d" needs 256 KiB', stopping);
  await expect(request('/api/v2/alerts')).rejects.toThrow('disk full');
  expect(connection.value).toEqual({ state: 'starting', reason: 'disk full: opening "d" needs 256 KiB' });
  answers(200, '{"status":"success","data":{"min":0,"max":0,"current":0}}');
  await request('/api/v1/status/walreplay', { early: true });
  expect(connection.value.state).toBe('starting');
  answers(503, 'Service Unavailable', stopping);
  await expect(request('/api/v2/alerts')).rejects.toThrow();
  expect(connection.value).toEqual({ state: 'starting', reason: '' });
  answers(200, '[]');
  await request('/api/v2/alerts');
  expect(connection.value).toEqual({ state: 'ok' });
});

test('an answer without the older part says so, and its series too', async () => {
  const ok = (warning: string) =>
    answers(
      200,
      JSON.stringify({ status: 'success', data: { resultType: 'matrix', result: [] }, warnings: [warning] }),
    );
  ok('PromQL warning: x');
  expect(lacksHistory(await request('/api/v1/query_range'))).toBe('');
  expect(history.value).toBeUndefined();
  ok('History not reached: 502 Bad Gateway');
  const data = await request<{ result: unknown[] }>('/api/v1/query_range');
  expect(lacksHistory(data)).toBe('History not reached: 502 Bad Gateway');
  expect(lacksHistory(data.result)).toBe('History not reached: 502 Bad Gateway');
  expect(history.value?.text).toBe('History not reached: 502 Bad Gateway');
});
