// Who one is, for the corner of the page and for what one may not do. Queried again
// when the page is shown again: somebody may have logged in elsewhere.
import { signal } from '@preact/signals';
import { whoami, type Who } from '../api/who';

export const who = signal<Who | undefined>(undefined);

async function load(): Promise<void> {
  try {
    who.value = await whoami();
  } catch {
    /* what is known stays; of a server that is away the banner tells */
  }
}

void load();
setInterval(() => {
  if (!document.hidden) void load();
}, 60000);
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) void load();
});
