import { expect, test } from 'vitest';
import type { Job } from '../api/types/jobs';
import example from '../../../../server/jobs/testdata/jobs.json';
import {
  backupText,
  byMachine,
  inOrder,
  isTrouble,
  jobFits,
  jobSnippets,
  keyOf,
  newToken,
  resultText,
  sinceText,
  titleOf,
  usualText,
  worst,
} from './jobs';

const all = example.data.jobs as Job[];
const job = (more: Partial<Job> = {}): Job => ({ ...all[0]!, ...more });
const everything = { text: '', state: '', backups: false, machines: null };

test('backups come first, and one name on many machines stays together', () => {
  const sorted = [...all].sort(inOrder);
  expect(sorted.slice(0, 6).every((j) => j.backup)).toBe(true);
  expect(sorted.slice(6).some((j) => j.backup)).toBe(false);
  expect(sorted.filter((j) => j.backup === 'home').map((j) => j.machine)).toEqual(['old', 'web1']);
  expect(sorted.findIndex((j) => j.machine === 'web1' && j.backup === 'home')).toBe(3);
});

test('filters look at everything that a row shows', () => {
  const fits = (f: Partial<Parameters<typeof jobFits>[1]>) =>
    all.filter((j) => jobFits(j, { ...everything, ...f })).map(keyOf);
  expect(fits({ text: 'exit code' })).toEqual(['web1/restic-backups-photos.service']);
  expect(fits({ text: 'PHOTOS nas' })).toEqual(['nas/photos']);
  expect(fits({ text: 'ping' })).toEqual(['/phone']);
  expect(fits({ state: 'late' })).toEqual(['web1/logrotate.service', '/phone']);
  expect(fits({ backups: true })).toHaveLength(6);
  expect(fits({ machines: new Set(['old']) })).toEqual(['old/btrbk-home.service']);
});

test('results say what happened', () => {
  const text = (lastResult: string, exitCode: number | null) => resultText(job({ lastResult, exitCode }));
  expect(text('success', 0)).toBe('OK');
  expect(text('exit-code', 3)).toBe('exit code 3');
  expect(text('signal', 137)).toBe('killed by SIGKILL');
  expect(text('signal', 152)).toBe('killed by signal 24');
  expect(text('signal', null)).toBe('killed');
  expect(text('core-dump', 139)).toBe('crashed by SIGSEGV');
  expect(text('timeout', 143)).toBe('timed out, exit code 143');
  expect(text('fail', 0)).toBe('fail');
  expect(text('stopped', 143)).toBe('stopped');
  expect(text('', null)).toBe('');
});

test('a usual range has its unit once', () => {
  expect(usualText({ min: 240, max: 420 })).toBe('4–7 min');
  expect(usualText({ min: 40, max: 413 })).toBe('0.7–6.9 min');
  expect(usualText({ min: 610, max: 930 })).toBe('10–16 min');
  expect(usualText({ min: 0.1, max: 420 })).toBe('under 7 min');
  expect(usualText({ min: 5, max: 5 })).toBe('5 s');
  expect(usualText(null)).toBe('');
});

test('ages of backups have one unit', () => {
  expect([59, 119 * 60, 5 * 3600, 47.9 * 3600, 48 * 3600, 9 * 86400 + 80000].map(sinceText)).toEqual([
    '0 min',
    '119 min',
    '5 h',
    '47 h',
    '2 days',
    '9 days',
  ]);
  expect(sinceText(-5)).toBe('0 min');
  expect(backupText(job({ lastSuccess: 1000 }), 1000 + 9 * 86400)).toBe('9 days ago');
  expect(backupText(job({ lastSuccess: null, state: 'never' }), 0)).toBe('never');
  expect(backupText(job({ lastSuccess: null, state: 'running' }), 0)).toBe('running');
});

test('of a machine the worst backup comes first; one of a machine that is away is no trouble', () => {
  const of = byMachine(all);
  expect([...of.keys()].sort()).toEqual(['lap', 'nas', 'old', 'web1']);
  expect(worst(of.get('web1')!).map((j) => j.backup)).toEqual(['photos', 'all', 'home']);
  expect(of.get('old')!.some(isTrouble)).toBe(false);
});

test('units are named without their ending', () => {
  expect(titleOf(job({ name: 'a.b.service' }))).toBe('a.b');
  expect(titleOf(job({ name: 'photos' }))).toBe('photos');
});

test('what is copied to add a job belongs together', () => {
  const token = newToken();
  expect(token).toMatch(/^[0-9a-f]{32}$/);
  expect(newToken()).not.toBe(token);
  const s = jobSnippets('on', 'http://hub:9090', token);
  expect(s.file).toContain(`"on":\n    token: ${token}\n`); // a name that YAML would read as true
  expect(s.command).toContain(`CLANMON_PING_TOKEN=${token} clanmon job --server http://hub:9090 on -- `);
  expect(s.curl).toContain(`http://hub:9090/ping/${token}/$?`);
  expect(s.nix).toContain('pings."on" = {');
});
