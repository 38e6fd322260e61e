import { request } from './client';
import type { UptimeAnswer } from './types/uptime';

// uptime of a machine, or with '' of all.
export const uptime = (machine: string, signal?: AbortSignal) =>
  request<UptimeAnswer>('/api/clanmon/v1/uptime', {
    ...(machine && { params: { machine } }),
    ...(signal && { signal }),
  });
