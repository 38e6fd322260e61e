// Which series belong to which machine. The server knows: targets of a user's own
// configuration may lack the label machine, and then their instances say it.
import type { Labels } from '../api/types/query';
import { matchesAll, parseMatchers } from './alertMatchers';
import { quote } from './quote';

export interface Selects {
  name: string;
  selector?: string; // what goes inside {} to select all series of the machine
  labelled?: boolean; // false: its series have no label machine
}

// selectorOf is what goes inside {} to select all series of a machine. Until the
// server has said it, the label machine has to do.
export function selectorOf(row: { selector?: string } | undefined, machine: string): string {
  return row?.selector || `machine=${quote(machine)}`;
}

// machineFinder tells which machine a series belongs to; undefined where none of
// them has it.
export function machineFinder(rows: Selects[]): (l: Labels) => string | undefined {
  const unlabelled = rows
    .filter((r) => r.labelled === false && r.selector)
    .map((r) => ({ name: r.name, matchers: parseMatchers(r.selector!) }))
    .flatMap((r) => ('error' in r.matchers ? [] : [{ name: r.name, matchers: r.matchers }]));
  const known = new Map<string, string | undefined>();
  return (l) => {
    if (l.machine) return l.machine;
    if (!l.instance || !unlabelled.length) return undefined;
    const key = `${l.instance}\n${l.job ?? ''}`;
    if (!known.has(key)) known.set(key, unlabelled.find((r) => matchesAll(r.matchers, l))?.name);
    return known.get(key);
  };
}
