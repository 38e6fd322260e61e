// Numbers as a person reads them. All functions are pure; NaN and undefined
// become a dash, so that a missing figure never looks like a zero.

export const DASH = '–';

export type Unit =
  | 'none'
  | 'count'
  | 'ratio'
  | 'bytes'
  | 'bytesps'
  | 'bitsps'
  | 'seconds'
  | 'celsius'
  | 'perSecond'
  | 'hertz'
  | 'volts'
  | 'watts'
  | 'rpm';

function missing(v: number | null | undefined): v is null | undefined {
  return v === null || v === undefined || Number.isNaN(v);
}

// digits gives three significant digits without exponent.
function digits(v: number): string {
  const a = Math.abs(v);
  if (a >= 100 || a === 0) return v.toFixed(0);
  if (a >= 10) return trim(v.toFixed(1));
  if (a >= 1) return trim(v.toFixed(2));
  if (a >= 0.001) return trim(v.toPrecision(2));
  return v.toExponential(1);
}

function trim(s: string): string {
  return s.includes('.') ? s.replace(/\.?0+$/, '') : s;
}

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

function scaled(v: number, steps: [number, string][], unit: string): string {
  for (const [size, prefix] of steps) if (Math.abs(v) >= size * 0.9995) return `${digits(v / size)} ${prefix}${unit}`;
  return unit ? `${digits(v)} ${unit}` : digits(v);
}

function decimalNumber(v: number): string {
  for (const [size, prefix] of decimal) if (Math.abs(v) >= size * 0.9995) return `${digits(v / size)} ${prefix}`;
  return digits(v);
}

// format renders v in its unit: ratio as percent, bytes in powers of two, bits
// in powers of ten, seconds as the nearest unit of time.
export function format(v: number | null | undefined, unit: Unit = 'none'): string {
  if (missing(v)) return DASH;
  if (!Number.isFinite(v)) return v > 0 ? '+Inf' : '-Inf';
  switch (unit) {
    case 'ratio':
      return percent(v);
    case 'bytes':
      return scaled(v, binary, 'B');
    case 'bytesps':
      return scaled(v, binary, 'B/s');
    case 'bitsps':
      return scaled(v, decimal, 'bit/s');
    case 'seconds':
      return seconds(v);
    case 'celsius':
      return `${digits(v)} °C`;
    case 'perSecond':
      return `${decimalNumber(v)}/s`;
    case 'hertz':
      return scaled(v, decimal, 'Hz');
    case 'volts':
      return `${digits(v)} V`;
    case 'watts':
      return `${digits(v)} W`;
    case 'rpm':
      return `${digits(v)} rpm`;
    case 'count':
      return Number.isInteger(v) && Math.abs(v) < 1e6 ? v.toLocaleString('en') : decimalNumber(v);
    default:
      return decimalNumber(v);
  }
}

export function percent(v: number | null | undefined): string {
  if (missing(v)) return DASH;
  const p = v * 100;
  const a = Math.abs(p);
  if (a < 0.005) return '0 %'; // below what matters; exact values are in Explore
  return `${a >= 10 ? p.toFixed(0) : a >= 0.1 ? trim(p.toFixed(1)) : trim(p.toFixed(2))} %`;
}

// seconds renders a short time: 1.2 ms, 35 s, 4.5 min, 3 h, 12 d.
export function seconds(v: number | null | undefined): string {
  if (missing(v)) return DASH;
  const a = Math.abs(v);
  if (a === 0) return '0 s';
  if (a < 1e-6) return `${digits(v * 1e9)} ns`;
  if (a < 1e-3) return `${digits(v * 1e6)} µs`;
  if (a < 1) return `${digits(v * 1e3)} ms`;
  if (a < 120) return `${digits(v)} s`;
  if (a < 7200) return `${digits(v / 60)} min`;
  if (a < 172800) return `${digits(v / 3600)} h`;
  return `${digits(v / 86400)} d`;
}

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
