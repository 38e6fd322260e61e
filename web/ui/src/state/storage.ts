// Whether samples are stored, for the banner of every page. Asked also where the
// range ends at a fixed time, and where the page does not refresh itself.
import { effect, signal } from '@preact/signals';
import { storageHealth } from '../api/clanmon';
import type { StorageHealth } from '../api/types/status';
import { tick } from './clock';

export const storage = signal<StorageHealth | undefined>(undefined);

let asked = 0;
async function load(): Promise<void> {
  asked = Date.now();
  try {
    storage.value = await storageHealth();
  } catch {
    /* what is known stays; of a server that is away another banner tells */
  }
}

let begun = -1;
effect(() => {
  if (tick.value === begun) return;
  begun = tick.value;
  void load();
});
setInterval(() => {
  if (!document.hidden && Date.now() - asked > 29000) void load();
}, 10000);
