import { request } from './client';
import type { TrafficAnswer } from './types/traffic';

// traffic of all machines in this month and the last, or of one.
export const traffic = (machine?: string, signal?: AbortSignal) =>
  request<TrafficAnswer>(`/api/clanmon/v1/traffic${machine ? `?machine=${encodeURIComponent(machine)}` : ''}`, {
    ...(signal && { signal }),
  });
