// Where we are. The URL holds every state that a copied link should reproduce:
// page, filters, sorting, tab, range, open row. Paths here have no prefix.
import { computed, signal } from '@preact/signals';
import { prefix } from './config';

interface Location {
  path: string;
  params: URLSearchParams;
}

function read(): Location {
  const p = window.location.pathname;
  const path = prefix && p.startsWith(prefix) ? p.slice(prefix.length) : p;
  return { path: path || '/', params: new URLSearchParams(window.location.search) };
}

export const location = signal<Location>(read());

// Where each entry of the history was scrolled to, by a number that it carries:
// Back leads to the row that one came from. The browser cannot restore it itself,
// since the page is drawn after it has tried.
const places = new Map<number, number>();
const entry = () => (window.history.state as { entry?: number } | null)?.entry ?? 0;
let entries = entry();
window.history.scrollRestoration = 'manual';
let moved = 0;
window.addEventListener(
  'scroll',
  () => {
    clearTimeout(moved);
    const [id, y] = [entry(), window.scrollY];
    moved = window.setTimeout(() => places.set(id, y), 100);
  },
  { passive: true },
);

// scrollTo waits for a page that is not as long yet, for a second at most.
function scrollTo(y: number, until = performance.now() + 1000): void {
  const id = entry();
  window.scrollTo(0, y);
  if (Math.abs(window.scrollY - y) > 2 && performance.now() < until)
    requestAnimationFrame(() => {
      if (entry() === id) scrollTo(y, until);
    });
}

window.addEventListener('popstate', () => {
  clearTimeout(moved);
  const before = location.value.path;
  location.value = read();
  if (location.value.path !== before) scrollTo(places.get(entry()) ?? 0);
});

// Parameters that go along from page to page.
const carried = ['range', 'from', 'to', 'past', 'tag'];

export type Params = Record<string, string | number | boolean | null | undefined>;

// href is the address of a page, with what is carried from page to page and
// params; null or '' takes a parameter away.
export function href(path: string, params: Params = {}): string {
  const q = new URLSearchParams();
  for (const k of carried) {
    const v = location.value.params.get(k);
    if (v) q.set(k, v);
  }
  return prefix + path + query(q, params);
}

function query(q: URLSearchParams, params: Params): string {
  for (const [k, v] of Object.entries(params)) {
    if (v === null || v === undefined || v === '' || v === false) q.delete(k);
    else q.set(k, v === true ? '1' : String(v));
  }
  const text = q.toString();
  return text ? `?${text}` : '';
}

// hereWith is the address of this page with some parameters changed.
export function hereWith(params: Params): string {
  return prefix + location.value.path + query(new URLSearchParams(location.value.params), params);
}

// go opens an address made by href or hereWith without loading the page anew.
export function go(address: string, replace = false): void {
  if (address === window.location.pathname + window.location.search) return;
  const samePage = new URL(address, window.location.href).pathname === window.location.pathname;
  if (!replace) places.set(entry(), window.scrollY);
  clearTimeout(moved);
  window.history[replace ? 'replaceState' : 'pushState']({ entry: replace ? entry() : ++entries }, '', address);
  location.value = read();
  if (!samePage) {
    window.scrollTo(0, 0);
    document.getElementById('main')?.focus({ preventScroll: true });
  }
}

// setParams changes parameters of this page. Typing replaces the entry of the
// history, a choice adds one.
export function setParams(params: Params, replace = true): void {
  go(hereWith(params), replace);
}

export function param(name: string, byDefault = ''): string {
  return location.value.params.get(name) ?? byDefault;
}

export const machinePath = (machine: string) => `/m/${encodeURIComponent(machine)}`;

export const tagFilter = computed(() => location.value.params.get('tag') ?? '');

// Links of our own pages do not load the page anew.
document.addEventListener('click', (e) => {
  if (e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
  const a = (e.target as Element | null)?.closest?.('a[href]') as HTMLAnchorElement | null;
  if (!a || a.target || a.hasAttribute('download') || a.dataset.native !== undefined) return;
  const url = new URL(a.href);
  if (url.origin !== window.location.origin || !url.pathname.startsWith(`${prefix}/`)) return;
  const path = url.pathname.slice(prefix.length);
  if (/^\/(api|metrics|debug|consoles|user|federate|-)(\/|$)/.test(path)) return;
  e.preventDefault();
  go(url.pathname + url.search);
});
