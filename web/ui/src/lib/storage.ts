export interface StorageFigures {
  blocks: number;
  wal: number;
  growth: number;
  limit: number;
  oldest: number;
}

// daysUntilFull extrapolates the growth of the last days to the size limit;
// undefined where there is none, or nothing grows.
export function daysUntilFull(f: Partial<StorageFigures>): number | undefined {
  if (!f.limit || f.blocks === undefined || !f.growth || f.growth <= 0) return undefined;
  return Math.max(0, (f.limit - f.blocks - (f.wal ?? 0)) / f.growth / 86400);
}
