// useData asks for something now and at every tick, and keeps the last answer
// while a newer one is on its way or fails: a page never goes white, and shows
// by its age that figures are old. All that ask the same share one answer.
import { effect } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import type { ApiError } from '../api/client';
import { Answers, nothing, type Answer } from '../lib/answers';
import { at, epoch, serverNow, tick } from './clock';

export type Data<T> = Answer<T> & { error: ApiError | undefined };

const answers = new Answers(serverNow);
let clock = epoch.value;
effect(() => {
  if (epoch.value === clock) return;
  clock = epoch.value;
  answers.renew();
});

// key names the question: another key is another question, null asks nothing.
// Whoever uses the same key has to ask the same.
// every is the seconds between two requests where that is longer than a tick.
export function useData<T>(key: string | null, fetcher: (signal: AbortSignal) => Promise<T>, every = 0): Data<T> {
  const latest = useRef(fetcher);
  latest.current = fetcher;
  const t = tick.value;
  const when = at.value;
  const question = key === null ? null : when === undefined ? key : `${key} at ${when}`;
  useEffect(() => (question === null ? undefined : answers.use(question)), [question]);
  useEffect(() => {
    if (question !== null) answers.ask(question, (s) => latest.current(s), t, every);
  }, [question, t]);
  return (question === null ? nothing : answers.get<T>(question).value) as Data<T>;
}
