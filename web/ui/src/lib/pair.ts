// The servers of a pair, and what the others say.
import type { State } from './fleet';

// Mirrors /api/clanmon/v1/pair.
export interface Server {
  name: string;
  url: string;
  version: string;
  machines: number;
  states?: Record<string, State>; // of machines that are not OK
  cut?: boolean; // there are more
  ok?: string[]; // the others, if there are not too many
}
export interface Peer extends Server {
  address: string;
  reachable: boolean;
  heard?: string; // RFC 3339
  clockOffset?: number; // seconds
  sameMachines: boolean;
  differences: { text: string; detail: string }[];
}
export interface Pair {
  enabled: boolean;
  self?: Server;
  peers: Peer[];
}

export const nameOf = (p: Peer) => p.name || p.address;

// absent is what a server says of a machine that it does not have.
type Says = State | 'absent';

// saysOf is what another server says of a machine; undefined if it does not say.
export function saysOf(p: Peer, machine: string): Says | undefined {
  if (!p.reachable || !p.name) return undefined;
  const said = p.states?.[machine];
  if (said) return said;
  if (p.cut) return undefined;
  if (p.sameMachines || p.ok?.includes(machine)) return 'ok';
  const named = Object.keys(p.states ?? {}).length + (p.ok?.length ?? 0);
  return named === p.machines ? 'absent' : undefined;
}

// contradiction is what the others say of a machine where that differs from what this server says.
export function contradiction(pair: Pair | undefined, machine: string, own: State): { name: string; says: Says }[] {
  if (own === 'unjudged') return [];
  return (pair?.peers ?? []).flatMap((p) => {
    const says = saysOf(p, machine);
    return says && says !== own ? [{ name: nameOf(p), says }] : [];
  });
}

// troubled is how many machines have a problem there, at least.
export const troubled = (s: Server): string => {
  const n = Object.values(s.states ?? {}).filter((x) => x === 'down' || x === 'critical' || x === 'warning').length;
  return n ? `${n}${s.cut ? ' or more' : ''} with problems` : s.cut ? 'no known problems' : 'no problems';
};
