import type { State } from '../lib/fleet';
import { Status, type Level } from './Status';

// How a machine's state is shown, wherever it is.
export const LOOK: Record<State, { level: Level; icon: string; word: string }> = {
  down: { level: 'crit', icon: 'down', word: 'Down' },
  critical: { level: 'crit', icon: 'crit', word: 'Critical' },
  warning: { level: 'warn', icon: 'warn', word: 'Warning' },
  waiting: { level: 'off', icon: 'wait', word: 'Waiting' },
  unjudged: { level: 'off', icon: 'info', word: 'Not judged' },
  ok: { level: 'ok', icon: 'ok', word: 'OK' },
  offline: { level: 'off', icon: 'off', word: 'Offline' },
};

export function MachineState({ row, badge }: { row: { state: State }; badge?: boolean }) {
  const l = LOOK[row.state];
  return (
    <Status level={l.level} icon={l.icon} {...(badge && { badge })}>
      {l.word}
    </Status>
  );
}
