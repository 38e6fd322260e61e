// Range queries by way of the cache: a refresh asks only for the steps that are
// new. One question is asked once at a time, since each answer is put onto the
// one before.
import { queryRange } from '../api/prom';
import { RangeCache, type Frame, type Grid } from '../lib/rangeCache';

const cache = new RangeCache(80);
const last = new Map<string, Promise<unknown>>();

export async function frame(expr: string, grid: Grid, signal: AbortSignal): Promise<Frame> {
  const id = `${grid.step} ${expr}`;
  const mine = (last.get(id) ?? Promise.resolve())
    .catch(() => undefined)
    .then(async () => {
      signal.throwIfAborted();
      const asked = cache.missing(expr, grid);
      return cache.put(expr, grid, asked, await queryRange(expr, asked.start, asked.end, asked.step, signal));
    });
  last.set(id, mine);
  try {
    return await mine;
  } finally {
    if (last.get(id) === mine) last.delete(id);
  }
}
