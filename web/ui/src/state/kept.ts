// Why an empty range is empty, if the store does not reach back to it. Only asked
// where something empty is looked at.
import { request } from '../api/client';
import type { Block, RuntimeInfo, TSDBStatus } from '../api/types/status';
import { notKept, type Kept } from '../lib/kept';
import { range, serverNow } from './clock';
import { agent } from './config';
import { useData } from './data';
import { isUTC } from './prefs';

async function ask(signal: AbortSignal): Promise<Kept> {
  const [runtime, blocks, tsdb] = await Promise.all([
    request<RuntimeInfo>('/api/v1/status/runtimeinfo', { signal }),
    request<{ blocks: Block[] | null }>('/api/v1/status/tsdb/blocks', { signal }),
    request<TSDBStatus>('/api/v1/status/tsdb', { params: { limit: 1 }, signal }),
  ]);
  const head = tsdb.headStats.minTime < 8e15 ? [tsdb.headStats.minTime] : [];
  const all = [...head, ...(blocks.blocks ?? []).map((b) => b.minTime)];
  return { oldest: all.length ? Math.min(...all) / 1000 : undefined, retention: runtime.storageRetention };
}

// useNotKept says that the range lies before everything that is stored; undefined
// otherwise, and while empty is false.
export function useNotKept(empty: boolean): string | undefined {
  const { to } = range.value;
  const kept = useData(empty && !agent && to < serverNow() - 3600 ? 'kept' : null, ask, 300);
  return kept.data && notKept(to, kept.data, serverNow(), isUTC());
}
