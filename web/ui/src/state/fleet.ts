// One store of the fleet for all pages. It is fed by polling. While the stream says that
// nothing changed, what is known is true and nothing is asked.
import { signal, useComputed } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import type { ApiError } from '../api/client';
import { fleet as ask } from '../api/clanmon';
import type { FleetAnswer } from '../api/types/machines';
import { FLEET, pushed, versionOf } from '../api/versions';
import { apply, type Store } from '../lib/fleet';
import { agent } from './config';
import { at, known, now, refresh, serverNow, tick } from './clock';
import { interval } from './prefs';

const store = signal<Store | undefined>(undefined);
const failed = signal<ApiError | undefined>(undefined);
const arrived = signal(0);

function take(a: FleetAnswer): void {
  store.value = apply(store.peek(), a);
  arrived.value = serverNow();
  failed.value = undefined;
}

const YOUNG = 10; // seconds in which a page that is opened does not ask again

let flight = false;
let asked = -1; // the tick in which was asked
let heard = -1; // what the stream had said then

// current: the store has what the server would answer. For the stream, values are read
// every 30 s; who chose a shorter interval asks for newer ones.
const current = () =>
  known.peek() && interval.peek() !== '10s' && store.peek() && store.peek()?.cursor === versionOf(FLEET);

async function poll(): Promise<void> {
  if (agent || flight) return;
  if (asked === tick.peek() && heard === pushed.peek() && store.peek() && serverNow() - arrived.peek() < YOUNG) return;
  asked = tick.peek();
  heard = pushed.peek();
  if (current()) {
    arrived.value = serverNow();
    failed.value = undefined;
    return;
  }
  flight = true;
  try {
    take(await ask(store.peek()?.cursor));
  } catch (e) {
    failed.value = e as ApiError; // what is known stays
  } finally {
    flight = false;
  }
  // Somebody wants what is true after that, such as who ended a silence.
  if ((asked !== tick.peek() || heard !== pushed.peek()) && !failed.peek()) void poll();
}

// useFleet follows the fleet while a page shows it. time is when the last answer
// arrived, by the server's clock; 0 before the first.
export function useFleet(want = true) {
  const t = tick.value;
  const p = pushed.value;
  useEffect(() => {
    if (want) void poll();
  }, [t, p, want]);
  const s = store.value;
  return {
    rows: s?.rows,
    notices: s?.notices ?? [],
    started: s?.started ?? 0,
    time: arrived.value,
    error: failed.value,
  };
}

// useImpatience asks every few seconds in the first minutes of a server: somebody
// waits for the first scrapes and for what the rules say.
export function useImpatience(waiting: boolean): void {
  const young = useComputed(() => !store.value || now.value - store.value.started < 150).value;
  const wanted = waiting && young && known.value && at.value === undefined && !agent;
  useEffect(() => {
    if (!wanted) return;
    const timer = setInterval(() => {
      if (!document.hidden) refresh();
    }, 5000);
    return () => clearInterval(timer);
  }, [wanted]);
}
