// Range queries by way of the cache: a refresh asks only for the steps that are
// new. One question is asked once at a time, since each answer is put onto the
// one before. lookback is how many seconds a sample counts, the server's default
// where it is not given.
import { queryRange } from '../api/prom';
import { RangeCache, type Frame, type Grid } from '../lib/rangeCache';

const cache = new RangeCache(80);
const last = new Map<string, Promise<unknown>>();

export async function frame(expr: string, grid: Grid, signal: AbortSignal, lookback?: number): Promise<Frame> {
  const question = `${lookback ?? ''} ${expr}`;
  const id = `${grid.step} ${question}`;
  const mine = (last.get(id) ?? Promise.resolve())
    .catch(() => undefined)
    .then(async () => {
      signal.throwIfAborted();
      const asked = cache.missing(question, grid);
      const answer = await queryRange(expr, asked.start, asked.end, asked.step, signal, lookback);
      return cache.put(question, grid, asked, answer);
    });
  last.set(id, mine);
  try {
    return await mine;
  } finally {
    if (last.get(id) === mine) last.delete(id);
  }
}
