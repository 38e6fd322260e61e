// Looking at a machine: the journal of a unit, and what runs now. The server asks the
// machine for each of these, so nothing here is asked for again by itself.
import { prefix } from '../state/config';
import { request } from './client';
import type { JournalAnswer, JournalQuery, ProcessesAnswer } from './types/look';

export const journal = (q: JournalQuery, signal: AbortSignal) =>
  request<JournalAnswer>('/api/clanmon/v1/journal', { params: { ...q }, aside: true, signal });

export const processes = (machine: string, signal: AbortSignal) =>
  request<ProcessesAnswer>('/api/clanmon/v1/processes', { params: { machine }, aside: true, signal });

// followed is where a browser gets new lines after those it has, or from now on.
export function followed(q: JournalQuery, after: string | undefined): string {
  const p = new URLSearchParams({ follow: 'true', ...(after && { after }) });
  for (const name of ['machine', 'unit', 'priority', 'grep', 'boot'] as const) {
    if (q[name]) p.set(name, q[name]);
  }
  return `${prefix}/api/clanmon/v1/journal?${p}`;
}
