// Numbers as a person reads them. All functions are pure; NaN and undefined
// become a dash, so that a missing figure never looks like a zero.

export const DASH = '–';

export const UNITS = [
  'none',
  'count',
  'ratio',
  'percent',
  'bytes',
  'bytesps',
  'bitsps',
  'seconds',
  'milliseconds',
  'celsius',
  'perSecond',
  'hertz',
  'volts',
  'watts',
  'rpm',
] as const;
export type Unit = (typeof UNITS)[number];

// unitNamed is the unit of that name; 'none' for one that is unknown here.
export const unitNamed = (name: string): Unit => UNITS.find((u) => u === name) ?? 'none';

function missing(v: number | null | undefined): v is null | undefined {
  return v === null || v === undefined || Number.isNaN(v);
}

// digits gives three significant digits without exponent.
function digits(v: number): string {
  const a = Math.abs(v);
  if (a >= 100 || a === 0) return v.toFixed(0);
  if (a >= 10) return trimmed(v.toFixed(1));
  if (a >= 1) return trimmed(v.toFixed(2));
  if (a >= 0.001) return trimmed(v.toPrecision(2));
  return v.toExponential(1);
}

// trimmed leaves zeros at the end of decimal places off.
export const trimmed = (s: string): string => (s.includes('.') ? s.replace(/\.?0+$/, '') : s);

const decimal: [number, string][] = [
  [1e18, 'E'],
  [1e15, 'P'],
  [1e12, 'T'],
  [1e9, 'G'],
  [1e6, 'M'],
  [1e3, 'k'],
];
const binary: [number, string][] = [
  [2 ** 50, 'Pi'],
  [2 ** 40, 'Ti'],
  [2 ** 30, 'Gi'],
  [2 ** 20, 'Mi'],
  [2 ** 10, 'Ki'],
];
// From which value on, which size, and its name.
const times: [number, number, string][] = [
  [172800, 86400, 'd'],
  [7200, 3600, 'h'],
  [120, 60, 'min'],
  [1, 1, 's'],
  [1e-3, 1e-3, 'ms'],
  [1e-6, 1e-6, 'µs'],
];
const FIXED: Partial<Record<Unit, string>> = { celsius: '°C', volts: 'V', watts: 'W', rpm: 'rpm' };

// scaleOf is what v is written in: a size in the unit itself, and what stands
// behind the number.
export function scaleOf(v: number, unit: Unit = 'none'): { size: number; suffix: string } {
  const a = Math.abs(v);
  const prefixed = (steps: [number, string][], name: string) => {
    const [size, prefix] = steps.find(([n]) => a >= n * 0.9995) ?? [1, ''];
    return { size, suffix: prefix || (name && !name.startsWith('/')) ? ` ${prefix}${name}` : name };
  };
  switch (unit) {
    case 'ratio':
      return { size: 0.01, suffix: ' %' };
    case 'percent':
      return { size: 1, suffix: ' %' };
    case 'bytes':
      return prefixed(binary, 'B');
    case 'bytesps':
      return prefixed(binary, 'B/s');
    case 'bitsps':
      return prefixed(decimal, 'bit/s');
    case 'hertz':
      return prefixed(decimal, 'Hz');
    case 'perSecond':
      return prefixed(decimal, '/s');
    case 'seconds': {
      if (a === 0) return { size: 1, suffix: ' s' };
      const [, size, name] = times.find(([from]) => a >= from) ?? [0, 1e-9, 'ns'];
      return { size, suffix: ` ${name}` };
    }
    case 'milliseconds': {
      const { size, suffix } = scaleOf(v / 1000, 'seconds');
      return { size: size * 1000, suffix };
    }
    case 'count':
      return Number.isInteger(v) && a < 1e6 ? { size: 1, suffix: '' } : prefixed(decimal, '');
    case 'none':
      return prefixed(decimal, '');
    default:
      return { size: 1, suffix: ` ${FIXED[unit]}` };
  }
}

// format renders v in its unit: ratio as percent, bytes in powers of two, bits
// in powers of ten, seconds as the nearest unit of time.
export function format(v: number | null | undefined, unit: Unit = 'none'): string {
  if (missing(v)) return DASH;
  if (!Number.isFinite(v)) return v > 0 ? '+Inf' : '-Inf';
  if (unit === 'ratio') return percent(v);
  if (unit === 'percent') return percent(v / 100);
  if (unit === 'count' && Number.isInteger(v) && Math.abs(v) < 1e6) return v.toLocaleString('en');
  const { size, suffix } = scaleOf(v, unit);
  return digits(v / size) + suffix;
}

export function percent(v: number | null | undefined): string {
  if (missing(v)) return DASH;
  const p = v * 100;
  const a = Math.abs(p);
  if (a < 0.005) return '0 %'; // below what matters; exact values are in Explore
  return `${a >= 10 ? p.toFixed(0) : a >= 0.1 ? trimmed(p.toFixed(1)) : trimmed(p.toFixed(2))} %`;
}

// seconds renders a short time: 1.2 ms, 35 s, 4.5 min, 3 h, 12 d.
export const seconds = (v: number | null | undefined): string => format(v, 'seconds');

// ago renders an age of v seconds coarsely, in at most two units: 8 s, 4 min,
// 2 h 10 min, 3 d 4 h, 212 d.
export function ago(v: number | null | undefined): string {
  if (missing(v)) return DASH;
  const s = Math.max(0, Math.floor(v));
  if (s < 60) return `${s} s`;
  const m = Math.floor(s / 60);
  if (m < 60) return `${m} min`;
  const h = Math.floor(m / 60);
  if (h < 24) return m % 60 && h < 10 ? `${h} h ${m % 60} min` : `${h} h`;
  const d = Math.floor(h / 24);
  return h % 24 && d < 10 ? `${d} d ${h % 24} h` : `${d} d`;
}

// raw is the value as Prometheus wrote it, for tables of query results.
export function raw(v: string | number): string {
  return String(v);
}
