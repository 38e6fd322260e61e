// Range queries by way of the cache: a refresh asks only for the steps that are
// new. One question is asked once at a time, since each answer is put onto the
// one before; who asks for the same steps meanwhile gets the same frame. lookback is
// how many seconds a sample counts, the server's default where it is not given. back
// asks for the same steps so many seconds earlier, and gives them the times of grid.
import { lacksHistory } from '../api/client';
import { queryRange } from '../api/prom';
import type { MatrixSeries } from '../api/types/query';
import { RangeCache, type Frame, type Grid } from '../lib/rangeCache';

const cache = new RangeCache(80);
const last = new Map<string, { grid: Grid; frame: Promise<Frame> }>();

const same = (a: Grid, b: Grid) => a.start === b.start && a.end === b.end;

export async function frame(
  expr: string,
  grid: Grid,
  signal: AbortSignal,
  lookback?: number,
  back = 0,
): Promise<Frame> {
  const question = `${lookback ?? ''} ${back || ''} ${expr}`;
  const id = `${grid.step} ${question}`;
  const ask = async () => {
    signal.throwIfAborted();
    const asked = cache.missing(question, grid);
    const answer = await queryRange(expr, asked.start - back, asked.end - back, asked.step, signal, lookback);
    const known = cache.put(question, grid, asked, back ? answer.map((s) => moved(s, back)) : answer);
    // What is missing may be there the next time.
    if (lacksHistory(answer)) cache.forget(question, grid.step);
    return known;
  };
  const before = last.get(id);
  // The one before may fail because nobody waits for it any more.
  const mine = before ? before.frame.then((f) => (same(before.grid, grid) ? f : ask()), ask) : ask();
  const turn = { grid, frame: mine };
  last.set(id, turn);
  try {
    return await mine;
  } finally {
    if (last.get(id) === turn) last.delete(id);
  }
}

const moved = (s: MatrixSeries, by: number): MatrixSeries => ({
  ...s,
  ...(s.values && { values: s.values.map(([t, v]) => [t + by, v] as [number, string]) }),
});
