// Totals of machines, and how they were in the last day.
import type { MatrixSeries } from '../api/types/query';
import type { FleetRow } from './fleet';
import { anyOf, quote } from './quote';

export const DAY = 86400;
export const TREND_STEP = 1800;

export interface Totals {
  cpu?: number; // on average
  memory?: number;
  receive?: number; // bytes per second, of all
  transmit?: number;
}

export function totals(rows: FleetRow[]): Totals {
  const values = (f: 'cpu' | 'memory' | 'receive' | 'transmit') => rows.flatMap((r) => r[f] ?? []);
  const sum = (list: number[]) => list.reduce((a, b) => a + b, 0);
  const t: Totals = {};
  for (const f of ['cpu', 'memory'] as const) {
    const list = values(f);
    if (list.length) t[f] = sum(list) / list.length;
  }
  for (const f of ['receive', 'transmit'] as const) {
    const list = values(f);
    if (list.length) t[f] = sum(list);
  }
  return t;
}

const AVERAGED = 'machine:cpu_used:ratio|machine:memory_used:ratio';
const ADDED = 'machine:network_receive_bytes:rate5m|machine:network_transmit_bytes:rate5m|clanmon_machine_state';

// trendQuery asks for all of them at once, from what is recorded. names undefined is all machines.
export function trendQuery(names: string[] | undefined): string {
  const machines = names ? `machine=~${quote(anyOf(names))}` : 'machine!=""';
  // "or" does not look at names of metrics.
  const named = (expr: string) => `label_replace(${expr}, "figure", "$1", "__name__", "(.+)")`;
  const select = (metrics: string) => `{__name__=~${quote(metrics)},${machines}}`;
  return `${named(`avg by (__name__) (${select(AVERAGED)})`)} or ${named(`sum by (__name__, state) (${select(ADDED)})`)}`;
}

export interface Trends {
  troubled: (number | null)[];
  cpu: (number | null)[];
  memory: (number | null)[];
  network: (number | null)[];
}

// trendsOf puts the answer on the grid that was asked for.
export function trendsOf(series: MatrixSeries[], start: number, end: number, step: number): Trends {
  const n = Math.round((end - start) / step) + 1;
  const none = () => Array.from({ length: n }, (): number | null => null);
  const t: Trends = { troubled: none(), cpu: none(), memory: none(), network: none() };
  const add = (to: (number | null)[], s: MatrixSeries, by: number) => {
    for (const [at, v] of s.values ?? []) {
      const i = Math.round((at - start) / step);
      const x = Number(v) * by;
      if (i >= 0 && i < n && Number.isFinite(x)) to[i] = (to[i] ?? 0) + x;
    }
  };
  for (const s of series) {
    const { figure, state = '' } = s.metric;
    if (figure === 'machine:cpu_used:ratio') add(t.cpu, s, 1);
    else if (figure === 'machine:memory_used:ratio') add(t.memory, s, 1);
    else if (figure === 'clanmon_machine_state') add(t.troubled, s, /^(down|critical|warning)$/.test(state) ? 1 : 0);
    else add(t.network, s, 1);
  }
  return t;
}
