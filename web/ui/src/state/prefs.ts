// What one browser remembers: theme, time zone, refresh interval. Everything
// that belongs into a link is in the URL instead.
import { effect, signal } from '@preact/signals';

function stored<T extends string>(name: string, values: readonly T[], byDefault: T) {
  let initial = byDefault;
  try {
    const v = localStorage.getItem(`clanmon.${name}`) as T | null;
    if (v && values.includes(v)) initial = v;
  } catch {
    /* storage may be forbidden; then nothing is remembered */
  }
  const s = signal<T>(initial);
  let first = true;
  effect(() => {
    const v = s.value;
    if (first) {
      first = false;
      return;
    }
    try {
      localStorage.setItem(`clanmon.${name}`, v);
    } catch {
      /* as above */
    }
  });
  return s;
}

export const THEMES = ['system', 'light', 'dark'] as const;
export const theme = stored('theme', THEMES, 'system');

export function nextTheme(): void {
  theme.value = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length]!;
}

export const ZONES = ['local', 'utc'] as const;
export const zone = stored('zone', ZONES, 'local');
export const isUTC = () => zone.value === 'utc';

export const INTERVALS = ['off', '10s', '30s', '1m'] as const;
export const interval = stored('refresh', INTERVALS, '30s');

const systemDark = window.matchMedia('(prefers-color-scheme: dark)');
export const dark = signal(false);
function applyTheme() {
  dark.value = theme.value === 'dark' || (theme.value === 'system' && systemDark.matches);
  document.documentElement.dataset.theme = dark.value ? 'dark' : 'light';
}
effect(applyTheme);
systemDark.addEventListener('change', applyTheme);

// remember and recall keep small lists, such as the history of queries.
export function recall<T>(name: string, byDefault: T): T {
  try {
    const v = localStorage.getItem(`clanmon.${name}`);
    return v ? (JSON.parse(v) as T) : byDefault;
  } catch {
    return byDefault;
  }
}

export function remember(name: string, value: unknown): void {
  try {
    localStorage.setItem(`clanmon.${name}`, JSON.stringify(value));
  } catch {
    /* not remembered */
  }
}
