import { signal } from '@preact/signals';

function media(query: string) {
  const m = window.matchMedia(query);
  const s = signal(m.matches);
  m.addEventListener('change', () => (s.value = m.matches));
  return s;
}

export const phone = media('(max-width: 700px)');
export const compact = media('(max-width: 900px)');
