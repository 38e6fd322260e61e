// Keyboard shortcuts. One listener; what is bound last is asked first, so that
// an open dialog or a page takes a key from what lies below it.
import { useEffect, useRef } from 'preact/hooks';

export interface Shortcut {
  keys: string;
  what: string;
  run: () => void;
} // "g f", "/", "ctrl+k"
let bound: Shortcut[] = [];
let pending = '';
let timer = 0;

export function shortcuts(): readonly Shortcut[] {
  return bound;
}

export function bind(list: Shortcut[]): () => void {
  bound = [...list, ...bound];
  return () => (bound = bound.filter((s) => !list.includes(s)));
}

// useKeys binds for as long as the component is shown. The functions may close
// over state; the newest ones run.
export function useKeys(list: Shortcut[]): void {
  const latest = useRef(list);
  latest.current = list;
  const names = list.map((s) => s.keys).join('|');
  useEffect(() => bind(latest.current.map((s, i) => ({ ...s, run: () => latest.current[i]?.run() }))), [names]);
}

function typing(e: KeyboardEvent): boolean {
  const t = e.composedPath()[0] as HTMLElement;
  return t.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(t.tagName);
}

document.addEventListener('keydown', (e) => {
  // Where [ and ] need AltGr, that is no modifier.
  const graph = e.getModifierState('AltGraph');
  if (e.defaultPrevented || (e.altKey && !graph)) return;
  // Enter on a link or a button is for that.
  if (e.key === 'Enter' && (e.composedPath()[0] as Element).closest?.('a[href],button,summary')) return;
  // An arrow in a box that scrolls sideways scrolls it.
  if (
    /^Arrow(Left|Right)$/.test(e.key) &&
    (e.composedPath()[0] as Element).closest?.('.tablebox,.tabs,[role="region"]')
  )
    return;
  const mod = (e.ctrlKey && !graph) || e.metaKey;
  const key = (mod ? 'ctrl+' : '') + e.key;
  if (!mod && (typing(e) || document.querySelector('[role="dialog"]'))) return;
  const seq = pending ? `${pending} ${key}` : key;
  const hit = bound.find((s) => s.keys === seq);
  clearTimeout(timer);
  pending = '';
  if (hit) {
    e.preventDefault();
    hit.run();
  } else if (bound.some((s) => s.keys.startsWith(`${seq} `))) {
    pending = seq;
    timer = window.setTimeout(() => (pending = ''), 1200);
  }
});
