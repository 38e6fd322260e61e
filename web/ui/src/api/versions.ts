// Which answers changed, as the server's stream says (state/stream.ts). An answer that
// has the version of the stream is what the server would answer now: it is not asked
// for again. Without a stream nothing is known, and pages poll.
import { signal } from '@preact/signals';

export const FLEET = '/api/clanmon/v1/fleet'; // its version is the cursor; of others it is the ETag

const SILENT = 35_000; // ms after which a stream without events is dead; it has one every 15 s
const DOUBT = 15_000; // and a version may be of the time before a change; the server looks every 10 s

let versions: Record<string, string> = {};
let heard = 0;
let doubted = 0;

// pushed grows when the stream says that rows of the fleet changed.
export const pushed = signal(0);

// After the clock was set back, nothing is trusted.
const within = (since: number, ms: number) => Date.now() >= since && Date.now() - since < ms;

// versionOf is that of an answer, by its path and query; undefined if it is not known.
export const versionOf = (url: string): string | undefined =>
  within(heard, SILENT) && !within(doubted, DOUBT) ? versions[url] : undefined;

// followed: the stream has versions of this answer, be they known now or not.
export const followed = (url: string) => url in versions;

// doubt has pages ask: something was changed from here, or somebody wants to see it.
export function doubt(): void {
  doubted = Date.now();
}

export function alive(): void {
  heard = Date.now();
}

// The rows of a fleet, without its notices: one of them may count seconds.
const rows = (cursor = '') => cursor.split('-').slice(0, 2).join('-');

export function changed(now: Record<string, string>): void {
  alive();
  const before = versions[FLEET];
  versions = now;
  if (rows(before) !== rows(now[FLEET])) pushed.value++;
}

export function lost(): void {
  versions = {};
}
