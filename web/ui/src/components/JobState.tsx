// The state of a job or backup: a colour, an icon and a word.
import type { Job } from '../api/types/jobs';
import { JOB } from '../lib/jobs';
import { Status, type Level } from './Status';

export const JOB_LOOK: Record<Job['state'], { level: Level; icon: string }> = {
  failed: { level: 'crit', icon: 'crit' },
  late: { level: 'warn', icon: 'clock' },
  never: { level: 'warn', icon: 'warn' },
  running: { level: 'info', icon: 'play' },
  unknown: { level: 'off', icon: 'wait' },
  ok: { level: 'ok', icon: 'ok' },
};

export function JobState({ j }: { j: Job }) {
  const l = JOB_LOOK[j.state];
  return (
    <Status level={l.level} icon={l.icon}>
      {JOB[j.state]}
    </Status>
  );
}
