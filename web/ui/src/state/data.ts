// useData asks for something now and at every tick, and keeps the last answer
// while a newer one is on its way or fails: a page never goes white, and shows
// by its age that figures are old.
import { useEffect, useRef, useState } from 'preact/hooks';
import type { ApiError } from '../api/client';
import { at, tick } from './clock';

export interface Data<T> {
  data: T | undefined;
  error: ApiError | undefined; // of the last request, if it failed
  loading: boolean; // the first answer to this question is on its way
  time: number; // when data arrived, Unix seconds; 0 before
}

const nothing = { data: undefined, error: undefined, loading: true, time: 0 };

// key names the question: another key is another question, null asks nothing.
// every is the seconds between two requests where that is longer than a tick.
export function useData<T>(key: string | null, fetcher: (signal: AbortSignal) => Promise<T>, every = 0): Data<T> {
  const [state, set] = useState<Data<T> & { key: string | null }>({ ...nothing, key });
  const latest = useRef(fetcher);
  latest.current = fetcher;
  const flight = useRef<{ abort: AbortController; begun: number; done: boolean } | null>(null);
  const t = tick.value;
  const when = at.value;

  useEffect(() => {
    // Another question, or the page is left: what is on its way is not wanted.
    return () => {
      flight.current?.abort.abort();
      flight.current = null;
    };
  }, [key, when]);

  useEffect(() => {
    if (key === null) return;
    const f = flight.current;
    if (f && (!f.done || Date.now() / 1000 - f.begun < every)) return;
    const mine = { abort: new AbortController(), begun: Date.now() / 1000, done: false };
    flight.current = mine;
    latest.current(mine.abort.signal).then(
      (data) => {
        mine.done = true;
        if (!mine.abort.signal.aborted) set({ data, error: undefined, loading: false, time: Date.now() / 1000, key });
      },
      (error) => {
        mine.done = true;
        mine.begun = 0; // ask again at the next tick
        if (!mine.abort.signal.aborted) set((s) => ({ ...(s.key === key ? s : nothing), error, loading: false, key }));
      },
    );
  }, [key, t, when]);

  return state.key === key ? state : nothing;
}
