// Remote write, which is all that an agent does with its samples.
import { ago, format } from './format';

// Mirrors /api/clanmon/v1/remote-write.
export interface RemoteWrite {
  name?: string;
  url: string; // without credentials
  sent?: number; // samples since the start
  pending?: number;
  failed?: number; // given up
  retried?: number;
  behind?: number; // seconds between the newest sample and the newest one sent
  lastError?: string;
  lastErrorAt?: string;
  lastSuccess?: string;
  failing?: boolean; // the last attempt failed
}

// Behind by more than this, samples are not on their way any more but waiting.
const LATE = 300;

export const late = (r: RemoteWrite): boolean => (r.behind ?? 0) > LATE;

// troubleOf says what is wrong with one receiver, '' where nothing is.
export function troubleOf(r: RemoteWrite): string {
  const behind = r.behind !== undefined && r.behind >= 1 ? `behind by ${ago(r.behind)}` : '';
  const waiting = r.pending ? `${format(r.pending, 'count')} samples pending` : '';
  const more = [waiting, behind].filter(Boolean).join(', ');
  if (r.failing) return `Remote write to ${r.url} fails${r.lastError ? `: ${r.lastError}` : ''}${more && ` (${more})`}`;
  if (late(r)) return `Remote write to ${r.url} is ${behind}${waiting && ` (${waiting})`}`;
  return '';
}

// troubles is what is wrong with all of them; an agent without a receiver keeps
// everything to itself.
export function troubles(all: RemoteWrite[], agent: boolean): string[] {
  if (agent && !all.length) return ['No remote_write is configured: the samples of this agent are sent nowhere.'];
  return all.map(troubleOf).filter(Boolean);
}
