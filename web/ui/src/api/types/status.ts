// Mirrors web/api/v1 of Prometheus: /api/v1/status/….
export interface RuntimeInfo {
  startTime: string;
  CWD: string;
  hostname: string;
  serverTime: string;
  reloadConfigSuccess: boolean;
  lastConfigTime: string;
  corruptionCount: number;
  goroutineCount: number;
  GOMAXPROCS: number;
  GOMEMLIMIT: number;
  GOGC: string;
  GODEBUG: string;
  storageRetention: string;
}

export interface BuildInfo {
  version: string;
  revision: string;
  branch: string;
  buildUser: string;
  buildDate: string;
  goVersion: string;
}

export interface TSDBStat {
  name: string;
  value: number;
}
export interface TSDBStatus {
  headStats: { numSeries: number; numLabelPairs: number; chunkCount: number; minTime: number; maxTime: number };
  seriesCountByMetricName: TSDBStat[] | null;
  labelValueCountByLabelName: TSDBStat[] | null;
  memoryInBytesByLabelName: TSDBStat[] | null;
  seriesCountByLabelValuePair: TSDBStat[] | null;
}

export interface Block {
  ulid: string;
  minTime: number;
  maxTime: number;
  stats: { numSamples?: number; numSeries?: number; numChunks?: number };
  compaction: { level: number };
}

// Mirrors server/store: /api/clanmon/v1/storage.
export interface Damage {
  what: string; // such as: block 01M8…
  path: string; // where it is now, or a note of it, in the data directory
  block?: string; // ULID of a block that is still in use
  error: string;
  from?: string; // what is missing, as far as is known, RFC 3339
  to?: string;
  setAside: string; // when it was found, RFC 3339
  bytes?: number; // what it takes there
  hint?: string; // how to try a repair
}
export interface StorageHealth {
  storing: boolean;
  since?: string; // RFC 3339
  reason?: string; // what is wrong, and what to do
  unsafe?: boolean; // a restart would lose samples
  damaged?: Damage[] | null;
  room?: StorageRoom | null;
}
export interface StorageRoom {
  freeBytes: number; // of the file system of the data directory
  blocksBytes: number;
  expectedBytes?: number; // of the blocks at the retention; none while not known
  retentionSizeBytes?: number; // one that fits, where the retention does not
}
