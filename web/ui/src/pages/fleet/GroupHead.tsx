// The head of a group of machines: its tag, and how many have which problem.
import { LOOK } from '../../components/MachineState';
import { Status } from '../../components/Status';
import type { FleetRow } from '../../lib/fleet';

export function GroupHead({ tag, n, rows }: { tag: string; n: number; rows: FleetRow[] }) {
  return (
    <span class="row nowraprow taghead">
      {tag}{' '}
      <span class="dim">
        {n} {n === 1 ? 'machine' : 'machines'}
      </span>
      {(['down', 'critical', 'warning'] as const).map((s) => {
        const k = rows.filter((r) => r.state === s).length;
        return (
          k > 0 && (
            <Status key={s} level={LOOK[s].level} icon={LOOK[s].icon}>
              {k} {s === 'warning' && k > 1 ? 'warnings' : s}
            </Status>
          )
        );
      })}
    </span>
  );
}
