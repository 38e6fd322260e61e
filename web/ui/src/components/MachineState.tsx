import { whole, type FleetRow, type State } from '../lib/fleet';
import { known } from '../state/clock';
import { Status, type Level } from './Status';

interface Look {
  level: Level;
  icon: string;
  word: string;
}

// How a machine's state is shown, wherever it is.
export const LOOK: Record<State, Look> = {
  down: { level: 'crit', icon: 'down', word: 'Down' },
  critical: { level: 'crit', icon: 'crit', word: 'Critical' },
  warning: { level: 'warn', icon: 'warn', word: 'Warning' },
  waiting: { level: 'off', icon: 'wait', word: 'Waiting' },
  unjudged: { level: 'off', icon: 'info', word: 'Not judged' },
  ok: { level: 'ok', icon: 'ok', word: 'OK' },
  offline: { level: 'off', icon: 'off', word: 'Offline' },
};

// Of a machine whose every alert is muted nothing good is known.
function lookOf(r: Pick<FleetRow, 'state' | 'silenced'>): Look {
  if (r.state === 'ok' && whole(r)) return { level: 'off', icon: 'silence', word: 'Silenced' };
  return LOOK[r.state] ?? LOOK.waiting;
}

export function MachineState({ row, badge }: { row: Pick<FleetRow, 'state' | 'silenced'>; badge?: boolean }) {
  const l = lookOf(row);
  if (!known.value)
    return (
      <Status level="off" icon="wait" {...(badge && { badge })}>
        Was {l.word === 'OK' ? l.word : l.word.toLowerCase()}
      </Status>
    );
  return (
    <Status level={l.level} icon={l.icon} {...(badge && { badge })}>
      {l.word}
    </Status>
  );
}
