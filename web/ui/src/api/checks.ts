import { request } from './client';
import type { Check, CheckRun } from './types/checks';

export const checks = (signal?: AbortSignal) =>
  request<{ checks: Check[] }>('/api/clanmon/v1/checks', { ...(signal && { signal }) }).then((d) => d.checks);
export const check = (name: string, signal?: AbortSignal) =>
  request<Check>(`/api/clanmon/v1/checks/${encodeURIComponent(name)}`, { ...(signal && { signal }) });
export const runCheck = (name: string, from: string) =>
  request<CheckRun>(`/api/clanmon/v1/checks/${encodeURIComponent(name)}/run?from=${encodeURIComponent(from)}`, {
    method: 'POST',
    json: {},
  });
