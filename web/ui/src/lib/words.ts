// The words that several pages share, so that the same thing has the same name
// everywhere. Units of values are in format.ts.
import type { State } from './fleet';
import { clock, dateTime } from './time';

// What a machine is called in each of its states, and what a silence, a pending alert
// or a restart makes of a healthy one.
export const MACHINE: Record<State | 'checking' | 'silenced' | 'pending', string> = {
  down: 'Down',
  critical: 'Critical',
  warning: 'Warning',
  waiting: 'Waiting',
  unjudged: 'No rules',
  ok: 'OK',
  offline: 'Offline',
  checking: 'Checking',
  silenced: 'Silenced',
  pending: 'Pending',
};

// Of targets, rules, receivers, discovery methods and remote write.
export const OK = 'OK';
export const FAILING = 'failing';
export const UP = 'up';
export const DOWN = 'down';
export const NOT_SCRAPED = 'not scraped yet';
export const NOT_TRIED = 'not tried yet';
export const NOTHING_SENT = 'nothing sent yet';
export const UNKNOWN = 'unknown';
export const REBOOT = 'reboot needed';

// Of alerts and silences.
export const FIRING = 'firing';
export const PENDING = 'pending';
export const SILENCED = 'silenced';
export const NOT_SENT = 'not sent';
export const NO_MATCH_NOW = 'Matches no current alert';

// severityWord is a severity as people read it: internal alerts have the label "none".
export const severityWord = (severity: string): string =>
  severity === 'none' ? 'internal' : severity || 'no severity';

// sourceWord is what found a target: the name of a discovery method, but for two.
export const sourceWord = (method: string): string =>
  method === 'config' ? 'configuration file' : method === 'local' ? 'this server' : method;

// staleSince says that what is shown is of a time, since it could not be refreshed.
export function staleSince(time: number, now: number, utc: boolean): string {
  if (!time || !Number.isFinite(time)) return 'Could not refresh';
  const at = Math.abs(now - time) < 43200 ? clock(time, utc, false) : dateTime(time, utc);
  return `Could not refresh; showing data from ${at}`;
}
