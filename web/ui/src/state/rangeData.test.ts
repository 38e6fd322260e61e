import { beforeEach, expect, test, vi } from 'vitest';
import type { MatrixSeries } from '../api/types/query';
import { frame } from './rangeData';

const asked: [number, number][] = [];
let answer: (s: AbortSignal) => Promise<MatrixSeries[]>;
vi.mock('../api/prom', () => ({
  queryRange: (_expr: string, start: number, end: number, _step: number, signal: AbortSignal) => {
    asked.push([start, end]);
    return answer(signal);
  },
}));

let lacks = false;
vi.mock('../api/client', () => ({ lacksHistory: () => (lacks ? 'History not reached: x' : '') }));

const series = (...values: [number, string][]): MatrixSeries[] => [{ metric: {}, values }];
const never = new AbortController().signal;

beforeEach(() => {
  asked.length = 0;
  answer = () => Promise.resolve(series([0, '1'], [15, '2']));
});

test('two charts of one question make one request and show the same', async () => {
  const grid = { start: 0, end: 15, step: 15 };
  const both = await Promise.all([frame('shared', grid, never), frame('shared', { ...grid }, never)]);
  expect(asked).toHaveLength(1);
  expect(both.map((f) => f.series[0]!.values)).toEqual([
    [1, 2],
    [1, 2],
  ]);
  // Other steps, another lookback: another question.
  await Promise.all([frame('shared', { ...grid, end: 30 }, never), frame('shared', grid, never, 60)]);
  expect(asked).toHaveLength(3);
});

test('who waits for a request that another gave up asks itself', async () => {
  const gone = new AbortController();
  answer = (s) => new Promise((_, no) => s.addEventListener('abort', () => no(s.reason)));
  const grid = { start: 0, end: 15, step: 15 };
  const first = frame('given up', grid, gone.signal);
  const second = frame('given up', grid, never);
  answer = () => Promise.resolve(series([0, '1']));
  gone.abort();
  await expect(first).rejects.toThrow();
  expect((await second).series[0]!.values).toEqual([1, null]);
  expect(asked).toHaveLength(2);
});

test('an answer that lacks history is asked for again, all of it', async () => {
  const grid = { start: 0, end: 15, step: 15 };
  lacks = true;
  await frame('lacking', grid, never);
  lacks = false;
  await frame('lacking', { ...grid, end: 30 }, never);
  await frame('lacking', { ...grid, end: 45 }, never);
  expect(asked).toEqual([
    [0, 15],
    [0, 30],
    [15, 45],
  ]);
});
