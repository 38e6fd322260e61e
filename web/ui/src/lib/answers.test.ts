import { expect, test, vi } from 'vitest';
import { Answers } from './answers';

const later = async () => {
  for (let i = 0; i < 5; i++) await Promise.resolve();
};

function setting() {
  let now = 1000;
  const asked: string[] = [];
  const answers = new Answers(() => now);
  let fail = false;
  const ask = (key: string, tick: number, every = 0) =>
    answers.ask(
      key,
      () => {
        asked.push(key);
        return fail ? Promise.reject(new Error('away')) : Promise.resolve(asked.length);
      },
      tick,
      every,
    );
  return { answers, asked, ask, pass: (s: number) => (now += s), fails: (f: boolean) => (fail = f) };
}

test('two that ask the same get one answer, and another page has it at once', async () => {
  const { answers, asked, ask } = setting();
  const leave = answers.use('machines');
  ask('machines', 0);
  ask('machines', 0);
  await later();
  ask('machines', 0);
  expect(asked).toHaveLength(1);
  leave();
  answers.use('machines'); // the next page
  expect(answers.get('machines').value).toMatchObject({ data: 1, loading: false });
  ask('machines', 0);
  expect(asked).toHaveLength(1);
});

test('a tick asks again, but not what is wanted more rarely', async () => {
  const { asked, ask, pass } = setting();
  ask('a', 0);
  ask('rare', 0, 60);
  await later();
  pass(30);
  ask('a', 1);
  ask('rare', 1, 60);
  await later();
  expect(asked).toEqual(['a', 'rare', 'a']);
  pass(31);
  ask('rare', 2, 60);
  expect(asked).toHaveLength(4);
});

test('a failure keeps the last answer and is asked again at the next tick', async () => {
  const { answers, asked, ask, fails } = setting();
  ask('a', 0, 60);
  await later();
  fails(true);
  ask('a', 1);
  await later();
  expect(answers.get('a').value).toMatchObject({ data: 1, error: new Error('away'), time: 1000 });
  fails(false);
  ask('a', 2, 60);
  await later();
  expect(asked).toHaveLength(3);
  expect(answers.get('a').value).toMatchObject({ data: 3, error: undefined });
});

test('each asks as often as it wants, and all show the newest answer', async () => {
  const { answers, asked, ask, pass } = setting();
  const shown = [answers.get('a'), answers.get('a')];
  for (let tick = 0; tick < 4; tick++) {
    ask('a', tick, 60);
    ask('a', tick, 300);
    await later();
    pass(30);
  }
  expect(asked).toHaveLength(2); // by the one with 60 s
  expect(shown.map((s) => s.value.data)).toEqual([2, 2]);
});

test('what is known is shown while a newer answer is on its way', async () => {
  const { answers, ask, pass } = setting();
  ask('a', 0);
  await later();
  pass(30);
  answers.ask('a', () => new Promise(() => undefined), 1);
  await later();
  expect(answers.get('a').value).toEqual({ data: 1, error: undefined, loading: false, time: 1000 });
});

test('a request that nobody waits for is given up, but not for who comes at once', async () => {
  vi.useFakeTimers();
  const { answers } = setting();
  let given: AbortSignal | undefined;
  const fetcher = (s: AbortSignal) => {
    given = s;
    return new Promise(() => undefined);
  };
  const ask = () => answers.ask('a', fetcher, 0);
  let leave = answers.use('a');
  ask();
  const first = given;
  leave();
  leave = answers.use('a');
  ask();
  vi.advanceTimersByTime(1000);
  expect(given).toBe(first);
  expect(first!.aborted).toBe(false);
  leave();
  vi.advanceTimersByTime(1000);
  expect(first!.aborted).toBe(true);
  answers.use('a');
  ask();
  expect(given).not.toBe(first);
  vi.useRealTimers();
});

test('a clock that was wrong makes all be asked for again, and old requests count no more', async () => {
  const { answers, asked, ask } = setting();
  ask('a', 0, 600);
  await later();
  let late = (_: string) => {};
  answers.ask('b', () => new Promise<string>((r) => (late = r)), 0);
  answers.renew();
  late('of another time');
  ask('a', 0, 600);
  await later();
  expect(asked).toEqual(['a', 'a']);
  expect(answers.get('b').value.data).toBeUndefined();
});

test('of answers that nobody shows only some are kept', async () => {
  vi.useFakeTimers();
  const answers = new Answers(() => 0, 2);
  for (const key of ['a', 'b', 'c', 'd']) {
    const leave = answers.use(key);
    answers.ask(key, () => Promise.resolve(key), 0);
    await later();
    leave();
  }
  vi.advanceTimersByTime(1000);
  expect(['a', 'b', 'c', 'd'].map((k) => answers.get(k).value.data)).toEqual([undefined, undefined, 'c', 'd']);
  vi.useRealTimers();
});

test('of a page with many answers none is forgotten while the page is drawn', async () => {
  vi.useFakeTimers();
  const answers = new Answers(() => 0, 2);
  answers.use('before')();
  vi.advanceTimersByTime(240);
  const keys = ['a', 'b', 'c', 'd'];
  const drawn = keys.map((k) => answers.get(k)); // while drawing, then what is drawn counts
  for (const k of keys) answers.use(k);
  for (const k of keys) answers.ask(k, () => Promise.resolve(k), 0);
  await later();
  vi.advanceTimersByTime(1000);
  expect(drawn.map((s) => s.value.data)).toEqual(keys);
  vi.useRealTimers();
});
