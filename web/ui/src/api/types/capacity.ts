export type CapacityKind = 'filesystem' | 'pool' | 'inodes' | 'memory' | 'storage' | 'certificate' | 'key';

// CapacityRow is something that is used up, or expires. Times are Unix seconds.
export interface CapacityRow {
  kind: CapacityKind;
  machine?: string;
  name?: string; // a mountpoint, a pool or dataset, a check
  device?: string;
  fstype?: string;
  size?: number; // bytes, or inodes
  used?: number;
  growth?: { '1d'?: number; '7d'?: number; '30d'?: number }; // a day
  due?: number;
  earliest?: number;
  latest?: number; // missing with earliest: perhaps never
  trend?: '6h' | '1d' | '7d' | '30d';
  known: boolean;
}

export interface CapacityAnswer {
  at: number;
  rows: CapacityRow[];
}
