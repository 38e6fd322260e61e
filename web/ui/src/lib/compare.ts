// Machines side by side: which charts, and what they ask of several machines at once.
import { REAL_DISK, REAL_FS, REAL_NET } from './machine';
import type { Panel } from './panel';
import { anyOf, quote } from './quote';

export const MOST = 8; // machines beside each other: as many as there are colours

// What one line stands for where a tag is compared.
export const WAYS = ['each', 'worst', 'mean', 'max', 'sum'] as const;
export type Way = (typeof WAYS)[number];
export const WAY_NAMES: Record<Way, string> = {
  each: 'Each machine',
  worst: 'Worst five',
  mean: 'Mean',
  max: 'Max',
  sum: 'Sum',
};

// wayOf is what is asked for, or what fits as many machines.
export const wayOf = (text: string, machines: number): Way => {
  const way = WAYS.find((w) => w === text);
  return way && (way !== 'each' || machines <= MOST) ? way : machines <= MOST ? 'each' : 'worst';
};

// $m is what selects the machines. Each expression gives one series a machine.
export const PANELS: Panel[] = [
  {
    title: 'CPU',
    unit: 'ratio',
    min: 0,
    max: 0.1,
    queries: [
      {
        expr: 'sum by (machine) (rate(node_cpu_seconds_total{$m,mode!~"idle|iowait|steal"}[$rate])) / sum by (machine) (rate(node_cpu_seconds_total{$m}[$rate]))',
      },
    ],
  },
  {
    title: 'Memory used',
    unit: 'ratio',
    min: 0,
    max: 1,
    queries: [{ expr: '1 - max by (machine) (node_memory_MemAvailable_bytes{$m} / node_memory_MemTotal_bytes{$m})' }],
  },
  {
    title: 'Load per core',
    unit: 'none',
    min: 0,
    max: 1,
    queries: [
      {
        expr: 'max by (machine) (node_load1{$m}) / count by (machine) (node_cpu_seconds_total{$m,mode="idle"})',
      },
    ],
  },
  {
    title: 'Network',
    unit: 'bitsps',
    queries: [
      {
        expr: `sum by (machine) (rate(node_network_receive_bytes_total{$m,${REAL_NET}}[$rate])) * 8`,
        legend: 'received',
      },
      {
        expr: `sum by (machine) (rate(node_network_transmit_bytes_total{$m,${REAL_NET}}[$rate])) * 8`,
        legend: 'sent',
        negate: true,
      },
    ],
  },
  {
    title: 'Disk throughput',
    unit: 'bytesps',
    queries: [
      { expr: `sum by (machine) (rate(node_disk_read_bytes_total{$m,${REAL_DISK}}[$rate]))`, legend: 'read' },
      {
        expr: `sum by (machine) (rate(node_disk_written_bytes_total{$m,${REAL_DISK}}[$rate]))`,
        legend: 'written',
        negate: true,
      },
    ],
  },
  {
    title: 'Fullest file system',
    unit: 'ratio',
    min: 0,
    max: 1,
    queries: [
      {
        expr: `1 - min by (machine) (node_filesystem_avail_bytes{$m,${REAL_FS}} / (node_filesystem_size_bytes{$m,${REAL_FS}} > 0))`,
      },
    ],
  },
  {
    title: 'CPU waiting',
    unit: 'ratio',
    min: 0,
    max: 0.05,
    queries: [{ expr: 'max by (machine) (rate(node_pressure_cpu_waiting_seconds_total{$m}[$rate]))' }],
  },
  {
    title: 'I/O stalled',
    unit: 'ratio',
    min: 0,
    max: 0.05,
    queries: [{ expr: 'max by (machine) (rate(node_pressure_io_stalled_seconds_total{$m}[$rate]))' }],
  },
  {
    title: 'Memory stalled',
    unit: 'ratio',
    min: 0,
    max: 0.05,
    queries: [{ expr: 'max by (machine) (rate(node_pressure_memory_stalled_seconds_total{$m}[$rate]))' }],
  },
  {
    title: 'Temperature',
    unit: 'celsius',
    queries: [{ expr: 'max by (machine) (node_hwmon_temp_celsius{$m} < 150)' }],
  },
];

// Of many machines the recording rule has the CPU time, which has a series for each CPU
// and mode.
const RECORDED = new Map([[PANELS[0]!.queries[0]!.expr, 'machine:cpu_used:ratio{$m}']]);

export interface Compared {
  name: string;
  selector?: string;
  labelled?: boolean; // false: its series have no label machine
}

// exprOf narrows an expression to machines. One without the label machine is selected by its own
// selector and gets the label.
export function exprOf(expr: string, machines: Compared[]): string {
  const text = machines.length > MOST ? (RECORDED.get(expr) ?? expr) : expr;
  const labelled = machines.filter((m) => m.labelled !== false || !m.selector);
  return [
    ...(labelled.length ? [text.replaceAll('$m', `machine=~${quote(anyOf(labelled.map((m) => m.name)))}`)] : []),
    ...machines
      .filter((m) => !labelled.includes(m))
      .map((m) => `label_replace(${text.replaceAll('$m', m.selector!)}, "machine", ${quote(m.name)}, "", "")`),
  ].join(' or ');
}

// overall makes one line of all machines.
export const overall = (expr: string, way: Way): string =>
  way === 'sum' || way === 'max' ? `${way}(${expr})` : way === 'mean' ? `avg(${expr})` : expr;

// worstQuery names the five machines with the highest mean over the range, of sixty points.
export const worstQuery = (expr: string, length: number): string =>
  `topk(5, avg_over_time((${expr})[${Math.round(length)}s:${subStep(length)}s]))`;
export const subStep = (length: number) => Math.max(15, Math.round(length / 60));
