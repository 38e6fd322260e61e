import { signal } from '@preact/signals';

export interface Toast {
  id: number;
  text: string;
  bad: boolean;
  act?: Act; // what may be done about it
}
export interface Act {
  text: string;
  run: () => void;
}
export const toasts = signal<Toast[]>([]);
let next = 1;

// toast says something for a few seconds, to screen readers too.
export function toast(text: string, bad = false, act?: Act): void {
  const t: Toast = { id: next++, text, bad };
  const end = () => (toasts.value = toasts.value.filter((x) => x.id !== t.id));
  if (act) {
    t.act = {
      text: act.text,
      run: () => {
        end();
        act.run();
      },
    };
  }
  toasts.value = [...toasts.value, t];
  setTimeout(end, act ? 12000 : bad ? 8000 : 3500);
}

export async function copy(text: string, what = 'Copied'): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without TLS there is no clipboard API except on localhost.
    const area = document.createElement('textarea');
    area.value = text;
    area.className = 'sr';
    document.body.append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    if (!done) return toast('Could not copy', true);
  }
  toast(what);
}
