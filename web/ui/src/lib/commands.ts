// What the palette understands: "silence beta 2h", "compare alpha beta 7d", "range 7d",
// "alpha memory 24h", "ssh beta".
import { MOST } from './compare';
import { score } from './search';
import { durationText, parseDuration } from './time';

export interface Named {
  name: string;
  labelled?: boolean; // false: its alerts have no label machine
  tags?: string[] | null;
  addresses?: string[] | null;
}

export type Command =
  | { do: 'range'; range: string }
  | { do: 'compare'; machines: string[]; tag?: string; range?: string }
  | { do: 'silence'; machine: string; seconds: number; reason: string; refused?: string }
  | { do: 'open'; machine: string; what: string; tab?: string; chart?: string; range?: string }
  | { do: 'copy'; machine: string; text: string };

// What there is of a machine, by the words that one would type.
const PARTS: { what: string; tab?: string; chart?: string }[] = [
  { what: 'Overview' },
  { what: 'CPU', chart: 'cpu' },
  { what: 'Memory', chart: 'memory' },
  { what: 'Units by memory', chart: 'units-by-memory' },
  { what: 'Units by CPU', chart: 'units-by-cpu' },
  { what: 'Network traffic', chart: 'network' },
  { what: 'Disk throughput', chart: 'disk-throughput' },
  { what: 'Disks', tab: 'disks' },
  { what: 'Network', tab: 'network' },
  { what: 'Services', tab: 'services' },
  { what: 'Hardware', tab: 'hardware' },
  { what: 'Changes', tab: 'changes' },
  { what: 'Journal', tab: 'journal' },
  { what: 'Metrics', tab: 'metrics' },
];

const SILENCE = 2 * 3600;
const SAFE = /^[A-Za-z0-9_][\w.@:-]*$/; // what a shell takes as it is

export function commandsOf(text: string, machines: Named[]): Command[] {
  const words = text.trim().split(/\s+/).filter(Boolean);
  const verb = words[0]?.toLowerCase() ?? '';
  const rest = words.slice(1);
  switch (verb) {
    case 'range':
      return rest.length === 1 && isLength(rest[0]!) ? [{ do: 'range', range: rest[0]! }] : [];
    case 'silence':
    case 'mute':
      return silences(rest, machines);
    case 'compare':
      return comparison(rest, machines);
    case 'ssh':
      return meant(rest[0] ?? '', machines)
        .slice(0, 5)
        .flatMap((m) => copies(m));
    default:
      return parts(words, machines);
  }
}

const isLength = (word: string | undefined): boolean => (parseDuration(word ?? '') ?? 0) > 0;

// meant are the machines that a word names: the one of that name, or those that it fits.
function meant(word: string, machines: Named[]): Named[] {
  if (!word) return [];
  const exact = machines.filter((m) => m.name.toLowerCase() === word.toLowerCase());
  if (exact.length) return exact;
  return machines
    .map((m) => ({ m, s: score(word, m.name) }))
    .filter((x) => x.s > 200) // letters in order find too many
    .sort((a, b) => b.s - a.s)
    .map((x) => x.m);
}

function silences(rest: string[], machines: Named[]): Command[] {
  const [name = '', ...more] = rest;
  const timed = isLength(more[0]);
  const seconds = timed ? parseDuration(more[0]!)! : SILENCE;
  const reason = more.slice(timed ? 1 : 0).join(' ');
  return meant(name, machines)
    .slice(0, 5)
    .map((m) => silenceOf(m, seconds, reason));
}

const silenceOf = (m: Named, seconds: number, reason: string): Command => ({
  do: 'silence',
  machine: m.name,
  seconds,
  reason,
  ...(m.labelled === false && { refused: 'its alerts have no label machine' }),
});

function comparison(rest: string[], machines: Named[]): Command[] {
  const range = isLength(rest.at(-1)) ? { range: rest.at(-1)! } : {};
  const names = range.range ? rest.slice(0, -1) : rest;
  if (names.length === 1) {
    const tag = names[0]!;
    if (machines.some((m) => m.tags?.includes(tag))) return [{ do: 'compare', machines: [], tag, ...range }];
  }
  const found = [...new Set(names.flatMap((n) => meant(n, machines).slice(0, 1)))].map((m) => m.name);
  return found.length > 1 ? [{ do: 'compare', machines: found.slice(0, MOST), ...range }] : [];
}

function copies(m: Named): Command[] {
  return SAFE.test(m.name) ? [{ do: 'copy', machine: m.name, text: `ssh ${m.name}` }] : [];
}

// parts of a machine that the words after its name fit, and what one can do with it.
function parts(words: string[], machines: Named[]): Command[] {
  const [name = '', ...more] = words;
  const found = meant(name, machines);
  const range = isLength(more.at(-1)) ? { range: more.at(-1)! } : {};
  const about = range.range ? more.slice(0, -1) : more;
  // One word that is not the name of a machine may be the beginning of anything.
  if (!more.length && found[0]?.name.toLowerCase() !== name.toLowerCase()) return [];
  const fits = (what: string) => about.every((w) => what.toLowerCase().includes(w.toLowerCase()));
  return found.slice(0, 3).flatMap((m): Command[] => [
    ...PARTS.filter((p) => fits(p.what) && (about.length || range.range || !p.chart)).map((p) => ({
      do: 'open' as const,
      machine: m.name,
      ...p,
      ...range,
    })),
    ...(range.range ? [] : [silenceOf(m, SILENCE, ''), ...copies(m)].filter((c) => fits(wordsOf(c)))),
  ]);
}

// wordsOf says a command as the palette lists it.
export function wordsOf(c: Command): string {
  const over = 'range' in c && c.range ? `, last ${c.range}` : '';
  switch (c.do) {
    case 'range':
      return `Last ${c.range}`;
    case 'compare':
      return `Compare ${c.tag ? `machines with tag ${c.tag}` : c.machines.join(', ')}${over}`;
    case 'silence':
      return `Silence ${c.machine} for ${durationText(c.seconds)}${c.reason ? `: ${c.reason}` : ''}`;
    case 'open':
      return `${c.machine}: ${c.what}${over}`;
    case 'copy':
      return `Copy ${c.text}`;
  }
}
