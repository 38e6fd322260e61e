import { expect, test } from 'vitest';
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

test('of answers that nobody shows only some are kept', async () => {
  const answers = new Answers(() => 0, 2);
  for (const key of ['a', 'b', 'c', 'd']) {
    const leave = answers.use(key);
    answers.ask(key, () => Promise.resolve(key), 0);
    await later();
    leave();
  }
  answers.use('x');
  expect(['a', 'b', 'c', 'd'].map((k) => answers.get(k).value.data)).toEqual([undefined, undefined, 'c', 'd']);
});
