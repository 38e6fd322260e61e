// What /api/clanmon/v1/jobs answers. Times are Unix seconds, durations seconds; null is not known.
export type JobKind = 'timer' | 'service' | 'ping' | 'job';
export type JobState = 'ok' | 'failed' | 'late' | 'running' | 'never' | 'unknown';

export interface Job {
  machine: string; // '' for a ping that names none
  name: string; // the unit that runs, or the name of the ping
  kind: JobKind;
  timer?: string; // that starts it
  backup: string; // '' if it makes none
  lastSuccess: number | null;
  lastRun: number | null; // when it began, also if it still runs
  lastResult: string; // success, or systemd's name of the failure; '' if not known
  exitCode: number | null; // 128 and the signal's number if one ended it
  duration: number | null; // of the last run that ended
  usual: { min: number; max: number } | null; // durations
  next: number | null; // the next run, or when a ping is due
  overdue: boolean;
  state: JobState;
  gap: number | null; // usual time from one run to the next
}
