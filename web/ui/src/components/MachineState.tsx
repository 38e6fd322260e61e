import { whole, type FleetRow, type State } from '../lib/fleet';
import { MACHINE } from '../lib/words';
import { known } from '../state/clock';
import { storage } from '../state/storage';
import { Status, type Level } from './Status';

interface Look {
  level: Level;
  icon: string;
  word: string;
}

// How a machine's state is shown, wherever it is.
export const LOOK: Record<State, Look> = {
  down: { level: 'crit', icon: 'down', word: MACHINE.down },
  critical: { level: 'crit', icon: 'crit', word: MACHINE.critical },
  warning: { level: 'warn', icon: 'warn', word: MACHINE.warning },
  waiting: { level: 'off', icon: 'wait', word: MACHINE.waiting },
  unjudged: { level: 'off', icon: 'info', word: MACHINE.unjudged },
  ok: { level: 'ok', icon: 'ok', word: MACHINE.ok },
  offline: { level: 'off', icon: 'off', word: MACHINE.offline },
};

type Shown = Pick<FleetRow, 'state' | 'silenced' | 'checking' | 'pending'>;

// Of a machine whose every alert is muted, or of which the rules have not been
// evaluated since the start, nothing good is known; and what is about to fire is not
// all right either.
export function lookOf(r: Shown): Look {
  // No rule sees what is not stored.
  if (r.state === 'ok' && storage.value?.storing === false) return { ...LOOK.unjudged, word: MACHINE.waiting };
  if (r.state === 'ok' && r.checking) return { level: 'off', icon: 'wait', word: MACHINE.checking };
  if (r.state === 'ok' && whole(r)) return { level: 'off', icon: 'silence', word: MACHINE.silenced };
  if (r.state === 'ok' && r.pending) return { level: 'off', icon: 'wait', word: MACHINE.pending };
  return LOOK[r.state] ?? LOOK.waiting;
}

export function MachineState({ row, badge }: { row: Shown; badge?: boolean }) {
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
