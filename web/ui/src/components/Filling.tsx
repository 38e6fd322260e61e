// That the server fills gaps with what exporters kept.
import { backfill } from '../api/clanmon';
import { fillingOf } from '../lib/backfill';
import { agent } from '../state/config';
import { useData } from '../state/data';

// Filling shows what is filled of a machine, or of all; nothing if nothing is.
export function Filling({ machine }: { machine?: string }) {
  const all = useData(agent ? null : 'backfill', backfill, 30);
  const text = fillingOf(all.data?.gaps ?? [], machine);
  return text ? (
    <p class="note" role="status">
      {text}
    </p>
  ) : null;
}
