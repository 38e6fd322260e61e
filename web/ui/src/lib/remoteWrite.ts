// Remote write, which is all that an agent does with its samples.
import { ago, format } from './format';

// Mirrors /api/clanmon/v1/remote-write. Samples are counted since the server started.
export interface RemoteWrite {
  name: string;
  url: string; // without credentials
  // idle: there was nothing to send yet; rejecting: nothing of what is sent is taken;
  // catching up: what was missed before a restart is sent
  state: 'ok' | 'behind' | 'idle' | 'rejecting' | 'catching up' | string;
  sent: number;
  pending: number;
  failed: number; // given up
  retried: number;
  resent: number; // after a restart, because they had been missed
  refused: number; // of those; the receiver may have them
  behindSeconds: number; // how much older the newest sample sent is than the newest one
  lastSent?: string; // the time of that sample
  lastError?: string;
  lastErrorAt?: string;
}

const at = (t: string | undefined) => (t ? Date.parse(t) / 1000 : 0);

// failing: what went wrong last is fresh, and nothing newer was sent. The server hears
// of errors once a minute.
export const failing = (r: RemoteWrite, now: number): boolean =>
  r.state === 'rejecting' || (!!r.lastErrorAt && now - at(r.lastErrorAt) < 180 && at(r.lastErrorAt) > at(r.lastSent));

// troubleOf says what is wrong with one receiver, '' where nothing is.
export function troubleOf(r: RemoteWrite, now: number): string {
  const behind = r.behindSeconds >= 1 ? `behind by ${ago(r.behindSeconds)}` : '';
  const waiting = r.pending ? `${format(r.pending, 'count')} samples pending` : '';
  const more = [waiting, behind].filter(Boolean).join(', ');
  if (failing(r, now))
    return `Remote write to ${r.url} is failing: ${r.lastError ?? 'nothing is taken'}${more && ` (${more})`}`;
  if (r.state === 'behind' || (r.state === 'catching up' && r.behindSeconds > 120))
    return `Remote write to ${r.url} is ${behind || 'behind'}${waiting && ` (${waiting})`}${r.lastError ? `: ${r.lastError}` : ''}`;
  return '';
}

// troubles is what is wrong with all of them; an agent without a receiver keeps
// everything to itself.
export function troubles(all: RemoteWrite[], agent: boolean, now: number): string[] {
  if (agent && !all.length) return ['Samples of this agent are not sent anywhere: no remote_write is configured.'];
  return all.map((r) => troubleOf(r, now)).filter(Boolean);
}
