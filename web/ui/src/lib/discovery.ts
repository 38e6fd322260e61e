// What discovery knows of something that is not listed, and why it is not.
import type { Discovery } from '../api/types/machines';
import { NOT_TRIED, sourceWord } from './words';

export interface Found {
  name: string;
  why: string;
}

// lookUp finds what fits a text among devices that do not report, were left out
// or were refused.
export function lookUp(d: Discovery | undefined, text: string): Found[] {
  const q = text.trim().toLowerCase();
  if (!d || !q) return [];
  const fits = (s: string | undefined) => !!s && s.toLowerCase().includes(q);
  const by = new Map<string, Found>();
  const add = (name: string, why: string) => {
    if (!by.has(name)) by.set(name, { name, why });
  };
  for (const w of d.waiting ?? [])
    if (fits(w.machine) || fits(w.address))
      add(w.machine, `found by ${sourceWord(w.method)}, ${w.reason || NOT_TRIED}`);
  for (const r of d.refused ?? [])
    if (fits(r.entry)) add(r.entry, `invalid entry of ${sourceWord(r.method)}: ${r.reason}`);
  for (const l of d.leftOut ?? [])
    if (fits(l.device)) add(l.device, `found by ${sourceWord(l.method)}, left out: ${l.reason}`);
  return [...by.values()];
}
