// Machines that are ticked on Fleet, to be compared.
import { signal } from '@preact/signals';
import { MOST } from '../lib/compare';
import { href } from './location';

export const picked = signal<readonly string[]>([]);
export const picking = signal(false); // on a phone, where ticks are hidden until somebody wants them

export const full = () => picked.value.length >= MOST;

export function pick(name: string): void {
  if (picked.value.includes(name)) picked.value = picked.value.filter((n) => n !== name);
  else if (!full()) picked.value = [...picked.value, name];
}

export function unpick(): void {
  picked.value = [];
  picking.value = false;
}

// compareHref is the address of machines side by side.
export function compareHref(names: readonly string[], more: Record<string, string | null> = {}): string {
  const address = href('/compare', { tag: null, ...more });
  const machines = names.map((n) => `m=${encodeURIComponent(n)}`).join('&');
  return machines ? `${address}${address.includes('?') ? '&' : '?'}${machines}` : address;
}
