// When the backups of a machine last succeeded: all of them in a line, or the worst.
import type { ComponentChildren } from 'preact';
import type { Job } from '../api/types/jobs';
import { backupText, isTrouble, JOB, keyOf, worst } from '../lib/jobs';
import { second } from '../state/clock';
import { href } from '../state/location';
import { Icon } from './icons';
import { JOB_LOOK } from './JobState';

const MOST = 6;

export function Backups({ list }: { list: Job[] }) {
  const all = worst(list);
  return (
    <span class="row" style={{ gap: '2px 10px' }}>
      {all.slice(0, MOST).map((j) => (
        <One key={keyOf(j)} j={j}>
          {j.backup} <Text j={j} />
        </One>
      ))}
      {all.length > MOST && (
        <a href={href('/jobs', { only: 'backups', q: all[0]!.machine })}>and {all.length - MOST} more</a>
      )}
    </span>
  );
}

// WorstBackup has little room: a name that does not fit gives way.
export function WorstBackup({ list }: { list: Job[] | undefined }) {
  const j = list && worst(list)[0];
  if (!j) return <span class="dim">–</span>;
  return (
    <One j={j}>
      <Text j={j} />
      {isTrouble(j) && ` ${j.backup}`}
    </One>
  );
}

function Text({ j }: { j: Job }) {
  const Tag = isTrouble(j) ? 'b' : 'span';
  return <Tag>{backupText(j, second.value)}</Tag>;
}

function One({ j, children }: { j: Job; children: ComponentChildren }) {
  const l = JOB_LOOK[j.state];
  return (
    <a
      class={`status quiet ${l.level}`}
      href={href('/jobs', { only: 'backups', job: keyOf(j) })}
      title={`Backup ${j.backup}: ${JOB[j.state]}, last success ${backupText(j, second.value)}`}
    >
      <Icon name={l.icon} />
      <span class="ellipsis">{children}</span>
    </a>
  );
}
