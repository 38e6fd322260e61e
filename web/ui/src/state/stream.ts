// The stream of a visible tab that refreshes itself. While there is none, the pages poll:
// the server or a proxy may refuse it, collect its events, or be away.
import { computed, effect } from '@preact/signals';
import { connection } from '../api/client';
import { alive, changed, lost } from '../api/versions';
import { frozen, hidden } from './clock';
import { agent, prefix } from './config';
import { interval, recall, remember } from './prefs';

const LATER = 5000; // ms after which a page has what it asked for first
const FIRST = 5000; // how long the first event may take
const NEXT = 35_000; // and each after it
const SHORT = 30_000; // a stream that ends sooner counts as a failure
const AGAIN = 1000; // the first wait before another one
const LONGEST = 300_000;

// browser is what the tabs of this browser have in common. It has few connections to a
// server, so not every window gets a stream.
let browser = recall('browser', '');
if (!browser) {
  browser = Math.random().toString(36).slice(2);
  remember('browser', browser);
}

// wanted: the page is seen, follows the clock, and the server is there.
const wanted = computed(
  () => !agent && interval.value !== 'off' && !hidden.value && !frozen.value && connection.value.state === 'ok',
);

// follow opens a stream whenever there should be one, until what it returns is called.
export function follow(): () => void {
  let source: EventSource | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let begun = 0;
  let wait = AGAIN;

  const after = (ms: number, then: () => void) => {
    clearTimeout(timer);
    timer = setTimeout(then, ms);
  };
  const close = () => {
    clearTimeout(timer);
    source?.close();
    source = undefined;
    lost();
  };
  // again opens another stream after a while, and waits longer each time that it soon ends.
  const again = () => {
    wait = Date.now() - begun > SHORT ? AGAIN : Math.min(wait * 2, LONGEST);
    close();
    after(wait, open);
  };
  const open = () => {
    begun = Date.now();
    source = new EventSource(`${prefix}/api/clanmon/v1/stream?browser=${browser}`);
    source.addEventListener('changed', (e) => {
      changed(JSON.parse((e as MessageEvent<string>).data));
      after(NEXT, again);
    });
    source.addEventListener('alive', () => {
      alive();
      after(NEXT, again);
    });
    source.onerror = again;
    after(FIRST, again);
  };
  return effect(() => {
    if (!wanted.value) return;
    after(LATER, open);
    return close;
  });
}
