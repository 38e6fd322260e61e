// Checks of services from outside: order, words, and what is copied to add one.
import type { Check, CheckState } from '../api/types/checks';
import { quote } from './quote';

export const CHECK_STATES: CheckState[] = ['failing', 'failed once', 'not run', 'unknown', 'ok'];

export const CHECK: Record<CheckState, string> = {
  failing: 'Failing',
  'failed once': 'Failed once',
  'not run': 'Not running',
  unknown: 'Not run yet',
  ok: 'OK',
};

export const isFailing = (c: Check): boolean => c.state === 'failing';

export function checkFits(c: Check, text: string, state: string): boolean {
  if (state && c.state !== state) return false;
  const all =
    `${c.name} ${c.url} ${c.machine ?? ''} ${c.why ?? ''} ${c.places.map((p) => p.from).join(' ')}`.toLowerCase();
  return text
    .toLowerCase()
    .split(/\s+/)
    .every((w) => all.includes(w));
}

// whyNot is why a check is not OK, and where, if it has several places.
export function whyNot(c: Check): string {
  const bad = c.places.filter((p) => p.state === c.state);
  if (!c.why || c.places.length < 2) return c.why ?? '';
  return bad.length === c.places.length ? c.why : `from ${bad.map((p) => p.from).join(', ')}: ${c.why}`;
}

// daysLeft is how many days a certificate is good for; undefined without one.
export function daysLeft(c: Check, now: number): number | undefined {
  const t = Date.parse(c.certificateExpires ?? '') / 1000;
  return Number.isFinite(t) ? (t - now) / 86400 : undefined;
}

// uptimeText rounds down: what failed once in a month was not up all the time.
export function uptimeText(v: number | null): string {
  if (v === null) return '–';
  if (v >= 1) return '100 %';
  return `${(Math.floor(v * 10000) / 100).toFixed(2).replace(/\.?0+$/, '')} %`;
}

export const dayLevel = (v: number | null): 'none' | 'ok' | 'warn' | 'crit' =>
  v === null ? 'none' : v >= 0.999 ? 'ok' : v >= 0.95 ? 'warn' : 'crit';

export const selectorOfCheck = (c: Check): string => `job="blackbox",check=${quote(c.name)}`;

const SCHEME = /^(https?|tcp|tls|ping|dns|(smtp|imap|pop3)\+starttls):\/\/[^/\s]+/;

// snippets are the three ways to add a check; an empty URL gives an example.
export function snippets(name: string, url: string): { flag: string; settings: string; nix: string } {
  const at = url || 'https://cloud.example.org';
  const called = name || at.replace(/^[^:]+:\/\//, '').split(/[/:?]/)[0] || 'cloud';
  return {
    flag: `--check '${name ? `${name}=` : ''}${at.replaceAll("'", '%27')}'`,
    settings: `checks:\n  ${called}:\n    url: ${JSON.stringify(at)}\n`,
    nix: `checks.${JSON.stringify(called)}.url = ${JSON.stringify(at).replaceAll('${', '\\${')};`,
  };
}

// wrongURL says what is wrong with an address that is being typed; '' if nothing is.
export function wrongURL(url: string): string {
  if (!url || SCHEME.test(url)) return '';
  return 'Start with https://, tcp://, tls://, smtp+starttls://, ping:// or dns://';
}
