// What is shown while the server opens its store, and how it is noticed that
// the server is back: asked with back-off, at least every 15 seconds.
import { effect } from '@preact/signals';
import { useEffect, useState } from 'preact/hooks';
import { connection, request, starting } from '../api/client';
import { ago } from '../lib/format';
import { refresh } from '../state/clock';
import { prefix } from '../state/config';
import { Empty } from './bits';

interface Replay {
  min: number;
  max: number;
  current: number;
}

export function Starting() {
  const [r, set] = useState<Replay | undefined>();
  const [begun] = useState(Date.now() / 1000);
  useEffect(() => {
    const ask = () => request<Replay>('/api/v1/status/walreplay', { early: true }).then(set, () => undefined);
    void ask();
    const timer = setInterval(ask, 1000);
    return () => clearInterval(timer);
  }, []);
  const total = r ? r.max - r.min + 1 : 0;
  const done = r ? Math.max(0, r.current - r.min + (r.max > 0 ? 1 : 0)) : 0;
  const part = total > 0 ? Math.min(1, done / total) : 0;
  const passed = Date.now() / 1000 - begun;
  const c = connection.value;
  if (c.state === 'starting' && c.reason)
    return (
      <div class="panel">
        <Empty icon="warn" title="The server cannot start yet" why={c.reason}>
          <p class="dim">Fix this and the server continues without a restart. This page updates automatically.</p>
        </Empty>
      </div>
    );
  return (
    <div class="panel">
      <Empty
        icon="wait"
        title="The server is starting"
        why={
          total > 1
            ? `Replaying the write-ahead log: segment ${Math.min(done, total)} of ${total}.${part > 0.05 && part < 1 ? ` About ${ago((passed / part) * (1 - part))} left.` : ''}`
            : 'Opening the store. This page continues by itself.'
        }
      >
        <progress max={1} value={part || undefined} aria-label="Progress" />
      </Empty>
    </div>
  );
}

let timer = 0;
effect(() => {
  const state = connection.value.state;
  clearTimeout(timer);
  if (state === 'ok' || state === 'locked') return;
  let wait = 1000;
  const again = async () => {
    let back = false;
    try {
      const r = await fetch(`${prefix}/-/ready`, { cache: 'no-store' });
      // Locked is back too: the next request says so.
      back = r.ok || r.status === 401;
      if (r.status === 503) starting(await r.text());
    } catch {
      /* still away */
    }
    if (back) {
      connection.value = { state: 'ok' };
      refresh();
      return;
    }
    wait = Math.min(15000, wait * 1.6);
    timer = window.setTimeout(again, wait);
  };
  timer = window.setTimeout(again, wait);
});
