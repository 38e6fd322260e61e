// How the states of units look.
import { ago } from '../../lib/format';
import type { Unit, Why } from '../../lib/services';
import { Status, type Level } from '../Status';

const STATE: Record<string, { level: Level; icon: string }> = {
  failed: { level: 'crit', icon: 'crit' },
  active: { level: 'ok', icon: 'ok' },
  inactive: { level: 'off', icon: 'off' },
  activating: { level: 'info', icon: 'wait' },
  deactivating: { level: 'info', icon: 'wait' },
  reloading: { level: 'info', icon: 'refresh' },
};

export const stateLevel = (state: string): Level | 'none' => STATE[state]?.level ?? 'none';

export function UnitState({ state, badge = false }: { state: string; badge?: boolean }) {
  if (!state) return <span class="dim">–</span>;
  const l = STATE[state] ?? { level: 'info' as Level, icon: 'info' };
  return (
    <Status level={l.level} icon={l.icon} badge={badge}>
      {state}
    </Status>
  );
}

export const WHY: Record<Why, { level: Level; icon: string; word: string }> = {
  failed: { level: 'crit', icon: 'crit', word: 'failed' },
  looping: { level: 'crit', icon: 'refresh', word: 'crash-looping' },
  stuck: { level: 'warn', icon: 'wait', word: 'stuck starting' },
  overdue: { level: 'warn', icon: 'clock', word: 'overdue' },
  tasks: { level: 'warn', icon: 'warn', word: 'near task limit' },
  restarts: { level: 'warn', icon: 'refresh', word: 'restarting' },
};

// UnitWhy says what is wrong, in words.
export function UnitWhy({ u }: { u: Unit }) {
  if (!u.why) return <UnitState state={u.state} />;
  const l = WHY[u.why];
  return (
    <Status level={l.level} icon={l.icon}>
      {l.word}
    </Status>
  );
}

export function whyText(u: Unit): string {
  switch (u.why) {
    case 'restarts':
      return `${Math.round(u.figure ?? 0)} restarts within an hour`;
    case 'overdue':
      return `${ago(u.figure)} late`;
    case 'looping':
      return 'within 15 min';
    case 'stuck':
      return 'for over 10 min';
    case 'tasks':
      return 'close to TasksMax';
    default:
      return '';
  }
}
