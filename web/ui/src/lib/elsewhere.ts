// Machines that other servers watch, as rows of Fleet.
import type { FleetRow, OtherMachine } from '../api/types/machines';
import { quote } from './quote';

export function rowOf(m: OtherMachine): FleetRow {
  const { figures, heard, ...rest } = m;
  // A server goes on to write that a target is down; no target means that it is not heard.
  return { ...figures, ...rest, labelled: true, ...(m.targets === 0 && { lastSeen: heard }) };
}

// isHere: this server watches it, so that it can silence and forget it.
export const isHere = (r: FleetRow) => r.site === undefined;

export const watchedBy = (site: string) => `watched by another server (${site})`;

// silentSites are those of which no machine is heard, and since when: more likely their server
// is away than all of their machines.
export function silentSites(rows: FleetRow[]): { site: string; since: number }[] {
  const last = new Map<string, number>();
  const heard = new Set<string>();
  for (const r of rows) {
    if (r.site === undefined) continue;
    if (r.targets) heard.add(r.site);
    else last.set(r.site, Math.max(last.get(r.site) ?? 0, Date.parse(r.lastSeen ?? '') / 1000 || 0));
  }
  return [...last].filter(([site]) => !heard.has(site)).map(([site, since]) => ({ site, since }));
}

export const isWhere = (r: FleetRow, where: string) => !where || (where === 'here') === isHere(r);

// countText says how many machines are here and elsewhere; they are never one number.
export function countText(rows: FleetRow[]): string {
  const here = rows.filter(isHere).length;
  return `${here} ${here === 1 ? 'machine' : 'machines'} here, ${rows.length - here} elsewhere`;
}

// otherSparkQuery asks for the CPU lines of machines elsewhere. Each selector has the labels of
// its site: only then are the newest samples read from the engine too.
export const otherSparkQuery = (rows: FleetRow[]): string =>
  rows
    .map((r) => {
      const sel = r.selector ?? '';
      const rate = (more: string) => `sum(rate(node_cpu_seconds_total{${sel}${more}}[4m]))`;
      const expr = r.judged
        ? `max(machine:cpu_used:ratio{${sel}})`
        : `${rate(',mode!~"idle|iowait|steal"')} / ${rate('')}`;
      return `label_replace(${expr}, "machine", ${quote(r.name)}, "", "")`;
    })
    .join(' or ');
