// The machines that other servers watch. Most servers have none, and then are seldom asked.
import { signal } from '@preact/signals';
import { useMemo } from 'preact/hooks';
import { elsewhere } from '../api/clanmon';
import type { FleetRow } from '../api/types/machines';
import { rowOf } from '../lib/elsewhere';
import { agent } from './config';
import { useData } from './data';

const enabled = signal(true);
const none: FleetRow[] = [];

export function useElsewhere(want = true) {
  const got = useData(
    want && !agent ? 'elsewhere' : null,
    async (s) => {
      const a = await elsewhere(s);
      enabled.value = a.enabled;
      return a;
    },
    enabled.value ? 30 : 600,
  );
  const machines = got.data?.machines;
  const rows = useMemo(() => machines?.map(rowOf) ?? none, [machines]);
  return {
    rows,
    known: got.data !== undefined,
    error: got.error,
    time: got.data?.time ?? 0,
    warnings: got.data?.warnings ?? [],
  };
}
