// The heartbeat of the pages. tick grows when data should be asked for anew:
// every interval, but not in a hidden tab, not while a chart is dragged, and not
// when the range ends at a fixed time.
//
// All times here are the server's: a browser whose clock is wrong shows the same
// ages, and asks for the same range, as any other.
import { computed, effect, signal, useComputed } from '@preact/signals';
import { useRef } from 'preact/hooks';
import { connection, serverNow, skew } from '../api/client';
import { doubt } from '../api/versions';
import { DEFAULT_RANGE, parseDuration, readRange, shifted, wider, type Range } from '../lib/time';
import { location, setParams } from './location';
import { interval } from './prefs';

export const tick = signal(0);
export const hidden = signal(document.hidden);
export const dragging = signal(false);

export { serverNow } from '../api/client';

// now follows tick, so that all parts of a page speak of the same time.
export const now = signal(serverNow());

// seconds counts every second for ages on display; it asks for no data.
export const second = signal(Math.floor(serverNow()));
setInterval(() => {
  if (!document.hidden) second.value = Math.floor(serverNow());
}, 1000);

// known is false while the server does not respond: what is shown was true, and
// nothing is green then (layout.css).
export const known = computed(() => connection.value.state === 'ok');
effect(() => {
  document.documentElement.toggleAttribute('data-unknown', !known.value);
});

// useOld says whether time lies more than seconds ago, for a page that follows
// the clock. What asks is drawn anew when the answer changes, not each second.
export function useOld(time: number | undefined, seconds = 120): boolean {
  const latest = useRef(signal(time)).current;
  latest.value = time;
  return useComputed(() => !frozen.value && !!latest.value && second.value - latest.value > seconds).value;
}

// Only a change of the range's own parameters makes a new range.
const rangeKey = computed(() => ['range', 'from', 'to'].map((k) => location.value.params.get(k) ?? '').join('|'));
export const range = computed<Range>(() => {
  const [r, from, to] = rangeKey.value.split('|');
  const p = new URLSearchParams();
  if (r) p.set('range', r);
  if (from) p.set('from', from);
  if (to) p.set('to', to);
  return readRange(p, now.value);
});

export const frozen = computed(() => rangeKey.value.split('|')[2] !== '' && !range.value.relative);

// at is the time at which instant queries are evaluated: the end of a frozen
// range, else undefined, which is the server's now.
export const at = computed(() => (frozen.value ? range.value.to : undefined));

// beat is the tick of the interval. refresh is for who wants to see what is true now,
// whatever the stream said last.
function beat(): void {
  now.value = serverNow();
  tick.value++;
}

export function refresh(): void {
  doubt();
  beat();
}

// The first response tells of a clock that is wrong; what was asked for until
// then was asked for another time.
export const epoch = signal(0);
let skewed = skew.value;
effect(() => {
  if (skew.value === skewed) return;
  skewed = skew.value;
  second.value = Math.floor(serverNow());
  epoch.value = epoch.peek() + 1;
  now.value = serverNow();
  tick.value = tick.peek() + 1;
});

document.addEventListener('visibilitychange', () => {
  hidden.value = document.hidden;
  if (
    !document.hidden &&
    !frozen.value &&
    interval.value !== 'off' &&
    serverNow() - now.value > (parseDuration(interval.value) ?? 30)
  )
    refresh();
});

effect(() => {
  // Each request without the password would make the browser ask for it.
  const locked = connection.value.state === 'locked';
  if (interval.value === 'off' || hidden.value || dragging.value || frozen.value || locked) return;
  const timer = setInterval(beat, (parseDuration(interval.value) ?? 30) * 1000);
  return () => clearInterval(timer);
});

export function setRelative(r: string): void {
  now.value = serverNow();
  setParams({ range: r === DEFAULT_RANGE ? null : r, from: null, to: null }, false);
}

export function setAbsolute(from: number, to: number): void {
  setParams({ range: null, from: Math.round(from), to: Math.round(to) }, false);
}

// shift moves the range by a part of its length; zoomOut doubles it. There is
// nothing to see in the future, so both end now.
export function shift(by: number): void {
  show(shifted(range.value, by, serverNow()));
}

export function zoomOut(): void {
  show(wider(range.value, serverNow()));
}

function show(r: Range): void {
  if (r.relative) setRelative(r.relative);
  else setAbsolute(r.from, r.to);
}
