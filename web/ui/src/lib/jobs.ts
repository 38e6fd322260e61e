// Jobs and backups: order, words, and what is copied to add one.
import type { Job, JobState } from '../api/types/jobs';
import { scaleOf, trimmed } from './format';

export const JOB_STATES: JobState[] = ['failed', 'late', 'never', 'running', 'unknown', 'ok'];

export const JOB: Record<JobState, string> = {
  failed: 'Failed',
  late: 'Overdue',
  never: 'Never ran',
  running: 'Running',
  unknown: 'Not known',
  ok: 'OK',
};

// endedWell: a job that somebody stopped has not failed.
export const endedWell = (j: Job): boolean => j.lastResult === 'success' || j.lastResult === 'stopped';

export const isTrouble = (j: Job): boolean => j.state === 'failed' || j.state === 'late' || j.state === 'never';

export const keyOf = (j: Job): string => `${j.machine}/${j.name}`;

// titleOf is the name without what all units have.
export const titleOf = (j: Job): string => j.name.replace(/\.service$/, '');

export const KIND: Record<Job['kind'], string> = {
  timer: 'timer',
  service: 'oneshot service',
  ping: 'ping',
  job: 'clanmon job',
};

export interface JobFilter {
  text: string;
  state: string;
  backups: boolean;
  machines: ReadonlySet<string> | null; // null: all
}

export function jobFits(j: Job, f: JobFilter): boolean {
  if (f.state && j.state !== f.state) return false;
  if (f.backups && !j.backup) return false;
  if (f.machines && !f.machines.has(j.machine)) return false;
  const all = `${j.name} ${j.machine} ${j.backup} ${j.timer ?? ''} ${KIND[j.kind]} ${resultText(j)}`.toLowerCase();
  return f.text
    .toLowerCase()
    .split(/\s+/)
    .every((w) => all.includes(w));
}

// inOrder puts backups first, and jobs of one name below each other.
export const inOrder = (a: Job, b: Job): number =>
  Number(!a.backup) - Number(!b.backup) ||
  names.compare(a.backup || a.name, b.backup || b.name) ||
  names.compare(a.machine, b.machine);
const names = new Intl.Collator('en', { numeric: true, sensitivity: 'base' });

const SIGNALS: Record<number, string> = {
  1: 'SIGHUP',
  2: 'SIGINT',
  3: 'SIGQUIT',
  6: 'SIGABRT',
  9: 'SIGKILL',
  11: 'SIGSEGV',
  13: 'SIGPIPE',
  15: 'SIGTERM',
};
const RESULTS: Record<string, string> = {
  success: 'OK',
  timeout: 'timed out',
  watchdog: 'watchdog timeout',
  'oom-kill': 'out of memory',
  'start-limit-hit': 'started too often',
  resources: 'could not be started',
  'exec-condition': 'condition not met',
};

// resultText says how the last run ended; '' if it is not known.
export function resultText(j: Job): string {
  const code = j.exitCode;
  if (j.lastResult === 'exit-code' && code !== null) return `exit code ${code}`;
  if (j.lastResult === 'signal' || j.lastResult === 'core-dump') {
    const name = code === null ? '' : (SIGNALS[code - 128] ?? `signal ${code - 128}`);
    return `${j.lastResult === 'signal' ? 'killed' : 'crashed'}${name && ` by ${name}`}`;
  }
  const text = RESULTS[j.lastResult] ?? j.lastResult;
  return !endedWell(j) && text && code ? `${text}, exit code ${code}` : text;
}

// usualText is a range of durations, with its unit once: 4–7 min.
export function usualText(r: Job['usual']): string {
  if (!r) return '';
  const { size, suffix } = scaleOf(r.max, 'seconds');
  const text = (v: number) => trimmed((v / size).toFixed(v / size < 9.95 ? 1 : 0));
  const [a, b] = [text(r.min), text(r.max)];
  if (a === b) return b + suffix;
  return a === '0' ? `under ${b}${suffix}` : `${a}–${b}${suffix}`;
}

// sinceText is an age in one unit: 5 min, 26 h, 9 days.
export function sinceText(age: number): string {
  const s = Math.max(0, age);
  if (s < 120 * 60) return `${Math.floor(s / 60)} min`;
  if (s < 48 * 3600) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} days`;
}

// backupText says of a backup when it last succeeded.
export const backupText = (j: Job, now: number): string =>
  j.lastSuccess === null ? (j.state === 'running' ? 'running' : 'never') : `${sinceText(now - j.lastSuccess)} ago`;

// worst are the backups of a machine, what is wrong first, then the oldest.
export const worst = (backups: Job[]): Job[] =>
  [...backups].sort(
    (a, b) =>
      Number(isTrouble(b)) - Number(isTrouble(a)) ||
      Number(a.state === 'unknown') - Number(b.state === 'unknown') ||
      (a.lastSuccess ?? 0) - (b.lastSuccess ?? 0),
  );

// byMachine are the backups of each machine.
export function byMachine(jobs: Job[]): Map<string, Job[]> {
  const out = new Map<string, Job[]>();
  for (const j of jobs) {
    if (!j.backup) continue;
    const of = out.get(j.machine);
    if (of) of.push(j);
    else out.set(j.machine, [j]);
  }
  return out;
}

// jobSnippets are what it takes to have a job report by ping: an entry in the file of
// --ping.file, then a command or a request. server is its address as this browser sees it,
// token is 128 bits of chance.
export function jobSnippets(
  name: string,
  server: string,
  token: string,
): { file: string; command: string; curl: string; nix: string } {
  const called = name || 'photos';
  const command = `rsync -a /srv/${called} nas:/${called}`;
  return {
    file: `pings:\n  ${JSON.stringify(called)}:\n    token: ${token}\n    every: 1d\n    grace: 2h\n`,
    command: `CLANMON_PING_TOKEN=${token} clanmon job --server ${server} ${called} -- ${command}`,
    curl: `${command}; curl -fsS -m 10 --retry 5 -o /dev/null ${server}/ping/${token}/$?`,
    nix: `pings.${JSON.stringify(called)} = {\n  tokenFile = "/run/secrets/ping-${called}";\n  every = "1d";\n  grace = "2h";\n};\n`,
  };
}

// newToken makes a token for a ping.
export const newToken = (): string =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, '0')).join('');
