// The servers of a pair, and what the others say.
import type { State } from './fleet';

// Mirrors /api/clanmon/v1/pair.
export interface Server {
  name: string;
  url: string;
  version: string;
  machines: number;
  states?: Record<string, State>; // of machines that have a problem
  cut?: boolean; // there are more
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

// saysOf is the state that another server says a machine has; undefined if it does not say.
export function saysOf(p: Peer, machine: string): State | undefined {
  if (!p.reachable || !p.name) return undefined;
  const said = p.states?.[machine];
  if (said) return said;
  return p.sameMachines && !p.cut ? 'ok' : undefined;
}

// contradiction is what the others say of a machine where that differs from what this server says.
export function contradiction(pair: Pair | undefined, machine: string, own: State): { name: string; state: State }[] {
  if (own === 'unjudged') return [];
  return (pair?.peers ?? []).flatMap((p) => {
    const state = saysOf(p, machine);
    return state && state !== own ? [{ name: nameOf(p), state }] : [];
  });
}

// troubled is how many machines have a problem there, at least.
export const troubled = (s: Server): string => {
  const n = Object.values(s.states ?? {}).filter((x) => x === 'down' || x === 'critical' || x === 'warning').length;
  return n || s.cut ? `${n}${s.cut ? ' or more' : ''} with problems` : 'no problems';
};
