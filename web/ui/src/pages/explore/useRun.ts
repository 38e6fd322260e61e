// useRun asks the server for the answer to a query. Like useData it keeps the
// last answer while a newer one is on its way; besides, it can be cancelled, says
// how long it took, and does not repeat by itself what was expensive.
import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError } from '../../api/client';
import { at, serverNow, tick } from '../../state/clock';

export interface Run<T> {
  data: T | undefined;
  error: ApiError | undefined;
  running: boolean;
  cancelled: boolean;
  old: boolean; // data answers another question than the one that is asked now
  seconds: number; // from asking until the answer was read
  time: number; // of the answer, Unix seconds
  costly: boolean; // not asked again by itself
  cancel: () => void;
  again: () => void;
}

const SLOW = 3; // seconds after which an answer is not asked for at every tick

// nth grows when a person asks for the same once more, which runs also what is
// costly or was cancelled.
export function useRun<T>(
  key: string | null,
  nth: number,
  fetcher: (signal: AbortSignal) => Promise<T>,
  large: (data: T) => boolean,
): Run<T> {
  const [state, set] = useState<{
    data?: T;
    of?: string;
    error?: ApiError;
    running: boolean;
    cancelled: boolean;
    seconds: number;
    time: number;
    costly: boolean;
  }>({ running: key !== null, cancelled: false, seconds: 0, time: 0, costly: false });
  const latest = useRef({ fetcher, large });
  latest.current = { fetcher, large };
  const flight = useRef<AbortController | null>(null);
  const held = useRef(false); // cancelled or costly: wait to be asked
  const t = tick.value;
  const question = key === null ? null : `${key}@${at.value ?? ''}`;

  const run = () => {
    flight.current?.abort();
    const mine = new AbortController();
    flight.current = mine;
    const begun = performance.now();
    set((s) => ({ ...s, running: true, cancelled: false }));
    latest.current.fetcher(mine.signal).then(
      (data) => {
        if (flight.current !== mine) return;
        flight.current = null;
        const seconds = (performance.now() - begun) / 1000;
        held.current = seconds > SLOW || latest.current.large(data);
        set({
          data,
          of: question!,
          running: false,
          cancelled: false,
          seconds,
          time: serverNow(),
          costly: held.current,
        });
      },
      (error) => {
        if (flight.current !== mine) return;
        flight.current = null;
        set((s) => ({
          ...(s.data !== undefined && s.of !== undefined && { data: s.data, of: s.of }),
          error: error instanceof ApiError ? error : new ApiError(String((error as Error).message ?? error), 0),
          running: false,
          cancelled: false,
          seconds: (performance.now() - begun) / 1000,
          time: s.time,
          costly: s.costly,
        }));
      },
    );
  };

  // Another question.
  useEffect(() => {
    held.current = false;
    if (question === null) {
      set({ running: false, cancelled: false, seconds: 0, time: 0, costly: false });
      return;
    }
    run();
    return () => {
      flight.current?.abort();
      flight.current = null;
    };
  }, [question]);

  // The same question again.
  const first = useRef(true);
  const seen = useRef(nth);
  useEffect(() => {
    if (first.current) {
      first.current = false;
      return;
    }
    const wanted = seen.current !== nth;
    seen.current = nth;
    if (wanted) held.current = false;
    if (question !== null && (wanted || (!flight.current && !held.current))) run();
  }, [t, nth]);

  return {
    data: state.data,
    error: state.error,
    running: state.running,
    cancelled: state.cancelled,
    seconds: state.seconds,
    time: state.time,
    costly: state.costly,
    old: state.data !== undefined && state.of !== question,
    cancel: () => {
      flight.current?.abort();
      flight.current = null;
      held.current = true;
      set((s) => ({ ...s, running: false, cancelled: true }));
    },
    again: () => {
      held.current = false;
      if (question !== null) run();
    },
  };
}
