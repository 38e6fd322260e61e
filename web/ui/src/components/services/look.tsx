// How the states of units look.
import { ago } from '../../lib/format';
import type { Unit, Why } from '../../lib/services';
import { second } from '../../state/clock';
import { Time } from '../bits';
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

// RunResult is how the last run of a timer's unit ended, as systemd says it.
export function RunResult({ result }: { result: string | undefined }) {
  if (!result) return <span class="dim">–</span>;
  return <Status level={result === 'success' ? 'ok' : 'crit'}>{result}</Status>;
}

// NextRun is when a timer runs next, or how late it is.
export function NextRun({ u }: { u: Pick<Unit, 'nextRun' | 'overdue'> }) {
  if (u.overdue) return <Status level="warn" icon="clock">{`${ago(u.overdue)} overdue`}</Status>;
  if (!u.nextRun) return <span class="dim">–</span>;
  const left = u.nextRun - second.value;
  return left > 0 ? (
    <span title={new Date(u.nextRun * 1000).toISOString()}>in {ago(left)}</span>
  ) : (
    <Time time={u.nextRun} />
  );
}

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
      return `${Math.round(u.figure ?? 0)} restarts in an hour`;
    case 'overdue':
      return `${ago(u.figure)} overdue`;
    case 'looping':
      return 'in 15 min';
    case 'stuck':
      return 'for over 10 min';
    case 'tasks':
      return 'close to TasksMax';
    default:
      return '';
  }
}
