import { request } from './client';
import type { EventKind, Events, MovedAnswer, NewNote } from './types/events';

// events between two times; overlapping ones began before and are not over.
export const events = (
  from: number,
  to: number,
  of: { machine?: string | undefined; overlapping?: boolean; kinds?: EventKind[] | undefined },
  signal?: AbortSignal,
) =>
  request<Events>('/api/clanmon/v1/events', {
    params: {
      from,
      to,
      machine: of.machine,
      kind: of.kinds?.join(','),
      overlapping: of.overlapping ? 'true' : undefined,
      limit: 2000,
    },
    ...(signal && { signal }),
  });

export const addNote = (n: NewNote) =>
  request<{ unknown: string[] }>('/api/clanmon/v1/events', { method: 'POST', json: n });

export const moved = (machine: string, at: number, signal?: AbortSignal) =>
  request<MovedAnswer>('/api/clanmon/v1/moved', { params: { machine, at }, ...(signal && { signal }) });
