import { request } from './client';
import type { CapacityAnswer } from './types/capacity';

// capacity of all machines: what is used up or expires, what comes first being first.
export const capacity = (signal?: AbortSignal) =>
  request<CapacityAnswer>('/api/clanmon/v1/capacity', { ...(signal && { signal }) });
