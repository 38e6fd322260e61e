// Answers shares what was asked between all that show it: one request at a time
// for each question, and the last answer is kept for a while after the last one
// that showed it has gone, so that another page has it at once.
import { signal, type Signal } from '@preact/signals';

export interface Answer<T> {
  data: T | undefined;
  error: Error | undefined; // of the last request, if it failed
  loading: boolean; // the first answer is on its way
  time: number; // when data arrived, Unix seconds; 0 before
}

export const nothing: Answer<never> = { data: undefined, error: undefined, loading: true, time: 0 };

interface Entry {
  answer: Signal<Answer<unknown>>;
  users: number;
  begun: number; // when the last request that succeeded was sent; 0: ask again
  tick: number; // in which tick it was sent
  flight: AbortController | null;
}

// What young answers may be shown again without asking, in seconds.
const YOUNG = 10;

export class Answers {
  private entries = new Map<string, Entry>();

  constructor(
    private readonly now: () => number,
    private readonly most = 80, // answers kept that nobody shows
  ) {}

  private entry(key: string): Entry {
    let e = this.entries.get(key);
    if (!e) {
      e = { answer: signal<Answer<unknown>>(nothing), users: 0, begun: 0, tick: -1, flight: null };
      this.entries.set(key, e);
    }
    return e;
  }

  // get is the last answer to a question; whoever reads its value follows it.
  get<T>(key: string): Signal<Answer<T>> {
    return this.entry(key).answer as Signal<Answer<T>>;
  }

  // use counts one that shows the answer, until it calls what is returned. What
  // nobody shows any more is given up a little later: the next page may ask the same.
  // Nothing is forgotten before: who draws an answer reads it before it counts.
  use(key: string): () => void {
    const e = this.entry(key);
    e.users++;
    this.entries.delete(key); // the least recently used goes first
    this.entries.set(key, e);
    return () => {
      e.users--;
      setTimeout(() => {
        if (e.users > 0) return;
        e.flight?.abort();
        e.flight = null;
        this.forget();
      }, 250);
    };
  }

  // ask sends a request, unless one is on its way or the last answer will do:
  // of this tick and young, or younger than every seconds.
  ask<T>(key: string, fetcher: (signal: AbortSignal) => Promise<T>, tick: number, every = 0): void {
    const e = this.entry(key);
    if (e.flight) return;
    const age = this.now() - e.begun;
    if (age < every || (e.tick === tick && age < YOUNG)) return;
    const mine = new AbortController();
    e.flight = mine;
    e.tick = tick;
    const begun = this.now();
    fetcher(mine.signal).then(
      (data) => {
        if (mine.signal.aborted) return;
        e.flight = null;
        e.begun = begun;
        e.answer.value = { data, error: undefined, loading: false, time: this.now() };
      },
      (error) => {
        if (mine.signal.aborted) return;
        e.flight = null;
        e.begun = 0; // ask again at the next tick
        e.answer.value = { ...e.answer.peek(), error, loading: false };
      },
    );
  }

  // renew gives up what is on its way and asks for everything again, as the
  // clock was found to be wrong.
  renew(): void {
    for (const e of this.entries.values()) {
      e.flight?.abort();
      e.flight = null;
      e.begun = 0;
      e.tick = -1;
    }
  }

  private forget(): void {
    const unused = [...this.entries].filter(([, e]) => e.users === 0 && !e.flight);
    for (const [key] of unused.slice(0, Math.max(0, unused.length - this.most))) this.entries.delete(key);
  }
}
