import { afterEach, beforeEach, expect, test, vi } from 'vitest';

const { hidden, frozen, interval } = await vi.hoisted(async () => {
  const { signal } = await import('@preact/signals');
  return { hidden: signal(false), frozen: signal(false), interval: signal('30s') };
});
vi.mock('./config', () => ({ prefix: '/mon', agent: false }));
vi.mock('./clock', () => ({ hidden, frozen }));
vi.mock('./prefs', () => ({ interval, recall: () => 'b', remember: () => undefined }));

import { connection, request } from '../api/client';
import { doubt, FLEET, pushed } from '../api/versions';
import { follow } from './stream';

class Source {
  static all: Source[] = [];
  static get last() {
    return Source.all.at(-1)!;
  }
  closed = false;
  onerror: () => void = () => undefined;
  private listeners: Record<string, (e: { data: string }) => void> = {};
  constructor(readonly url: string) {
    Source.all.push(this);
  }
  addEventListener(event: string, listener: (e: { data: string }) => void) {
    this.listeners[event] = listener;
  }
  close() {
    this.closed = true;
  }
  send(event: string, data: unknown = {}) {
    this.listeners[event]!({ data: JSON.stringify(data) });
  }
}

let turn = 0;
let SILENCES = ''; // of each test its own: answers are kept
const fetched: string[] = [];
let etag = 'one';

const open = () => Source.all.filter((s) => !s.closed);

let stop: () => void;

function setting() {
  stop = follow();
  // polls counts the requests of one poll: 0 if the answer is known to be current.
  const polls = async (path = SILENCES) => {
    const before = fetched.length;
    await request(path);
    return fetched.length - before;
  };
  vi.advanceTimersByTime(5000);
  return polls;
}

beforeEach(() => {
  vi.useFakeTimers({ now: 1e12 });
  Source.all = [];
  fetched.length = 0;
  etag = 'one';
  SILENCES = `/api/v2/silences?test=${++turn}`;
  connection.value = { state: 'ok' };
  hidden.value = frozen.value = false;
  interval.value = '30s';
  vi.stubGlobal('EventSource', Source);
  vi.stubGlobal('fetch', async (url: string) => {
    fetched.push(url);
    return new Response(`["${etag}"]`, { headers: { ETag: `W/"${etag}"` } });
  });
});
afterEach(() => {
  stop();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test('an answer with the version of the stream is not asked for again, another one is', async () => {
  const polls = setting();
  expect(Source.last.url).toBe('/mon/api/clanmon/v1/stream?browser=b');
  expect(await polls()).toBe(1); // no event yet
  Source.last.send('changed', { [SILENCES]: 'one' });
  expect(await polls()).toBe(1); // it was not kept before
  expect(await polls()).toBe(0);
  expect(await request(SILENCES)).toEqual(['one']);
  expect(await polls('/api/clanmon/v1/jobs')).toBe(1); // not in the stream
  expect(await polls(`${SILENCES}&filter=x`)).toBe(1);

  etag = 'two';
  Source.last.send('changed', { [SILENCES]: 'two' });
  expect(await polls()).toBe(1);
  expect(await polls()).toBe(0);
  expect(await request(SILENCES)).toEqual(['two']);
  // The answer changed after the stream looked: the page has what is newer, and asks until both agree.
  etag = 'four';
  Source.last.send('changed', { [SILENCES]: 'three' });
  expect(await polls()).toBe(1);
  expect(await polls()).toBe(1);
  Source.last.send('changed', { [SILENCES]: 'four' });
  expect(await polls()).toBe(0);
});

test('an answer without an ETag is asked for', async () => {
  const polls = setting();
  vi.stubGlobal('fetch', async (url: string) => {
    fetched.push(url);
    return new Response('[]');
  });
  Source.last.send('changed', { [SILENCES]: '' });
  expect(await polls()).toBe(1);
  expect(await polls()).toBe(1);
});

test('a stream that fails or falls silent makes the pages poll, and the next one is compared with what they have', async () => {
  const polls = setting();
  Source.last.send('changed', { [SILENCES]: 'one' });
  await polls();
  Source.last.onerror();
  expect(open()).toHaveLength(0);
  expect(await polls()).toBe(1);
  vi.advanceTimersByTime(2000);
  expect(open()).toHaveLength(1);
  expect(await polls()).toBe(1);
  Source.last.send('changed', { [SILENCES]: 'one' });
  expect(await polls()).toBe(0);

  vi.advanceTimersByTime(20_000);
  Source.last.send('alive');
  vi.advanceTimersByTime(30_000);
  expect(await polls()).toBe(0);
  const silent = Source.last;
  vi.advanceTimersByTime(5000);
  expect(silent.closed).toBe(true);
  expect(await polls()).toBe(1);
  vi.advanceTimersByTime(1000);
  expect(open()).toHaveLength(1); // it had lasted: soon again
});

test('a proxy that collects events is given up, and tried less and less often', async () => {
  const polls = setting();
  vi.advanceTimersByTime(5000);
  expect(open()).toHaveLength(0);
  expect(await polls()).toBe(1);
  vi.advanceTimersByTime(3_600_000);
  expect(Source.all.length).toBeGreaterThan(5);
  expect(Source.all.length).toBeLessThan(25);
});

test('there is a stream only while the page is visible and refreshes itself', async () => {
  const polls = setting();
  Source.last.send('changed', { [SILENCES]: 'one' });
  await polls();
  for (const [off, on] of [
    [() => (hidden.value = true), () => (hidden.value = false)],
    [() => (frozen.value = true), () => (frozen.value = false)],
    [() => (interval.value = 'off'), () => (interval.value = '30s')],
    [() => (connection.value = { state: 'locked' }), () => (connection.value = { state: 'ok' })],
  ] as const) {
    off();
    expect(open()).toHaveLength(0);
    vi.advanceTimersByTime(60_000);
    expect(open()).toHaveLength(0);
    on();
    vi.advanceTimersByTime(5000);
    expect(open()).toHaveLength(1);
    expect(await polls()).toBe(1);
    Source.last.send('changed', { [SILENCES]: 'one' });
    expect(await polls()).toBe(0);
  }
});

test('what was changed from here is asked for, whatever the stream said before', async () => {
  const polls = setting();
  Source.last.send('changed', { [SILENCES]: 'one' });
  await polls();
  await request('/api/v2/silences', { method: 'POST', json: {} });
  expect(await polls()).toBe(1);
  Source.last.send('changed', { [SILENCES]: 'one' }); // looked at before
  expect(await polls()).toBe(1);
  vi.advanceTimersByTime(15_000);
  expect(await polls()).toBe(0);
  doubt();
  expect(await polls()).toBe(1);
  vi.advanceTimersByTime(15_000);
  await request('/api/v1/query', { method: 'POST', form: new URLSearchParams() }); // a long query changes nothing
  expect(await polls()).toBe(0);
});

test('nothing is known to be current while the server is known to be away', async () => {
  const polls = setting();
  Source.last.send('changed', { [SILENCES]: 'one' });
  await polls();
  connection.value = { state: 'unreachable', since: 0 };
  expect(await polls()).toBe(1);
});

test('a row of the fleet that changed is pushed, a notice that counts seconds is not', async () => {
  setting();
  const pushes = (cursor: string) => {
    const before = pushed.value;
    Source.last.send('changed', { [FLEET]: cursor });
    return pushed.value - before;
  };
  expect(pushes('e-1-a')).toBe(1);
  expect(pushes('e-1-b')).toBe(0);
  expect(pushes('e-2-b')).toBe(1);
  Source.last.onerror();
  vi.advanceTimersByTime(2000);
  expect(pushes('e-2-b')).toBe(1); // after a gap it is compared with what is known
});
