// Pure functions: values to text, text to durations.

const binary = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** Three significant digits at most, without trailing zeros. */
export function number(v) {
  if (!Number.isFinite(v)) return Number.isNaN(v) ? 'NaN' : v > 0 ? '+Inf' : '-Inf';
  const a = Math.abs(v);
  if (a !== 0 && (a < 0.001 || a >= 1e15)) return v.toExponential(2);
  if (a >= 1e6) {
    const i = Math.min(4, Math.floor(Math.log10(a) / 3));
    return trim(v / 1000 ** i) + ['', 'k', 'M', 'G', 'T'][i];
  }
  return a >= 1000 ? String(Math.round(v)) : trim(v);
}

function trim(v) {
  return String(Number(v.toPrecision(3)));
}

export function bytes(v) {
  if (!Number.isFinite(v)) return number(v);
  let i = 0;
  let n = Math.abs(v);
  while (n >= 1024 && i < binary.length - 1) { n /= 1024; i++; }
  return `${v < 0 ? '-' : ''}${trim(n)} ${binary[i]}`;
}

export const bytesPerSecond = (v) => `${bytes(v)}/s`;
export const percent = (v) => (Number.isFinite(v) ? `${trim(v * 100)} %` : number(v));

/** Seconds as the two largest units: "3 d 4 h". */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return number(seconds);
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  const units = [['d', 86400], ['h', 3600], ['min', 60], ['s', 1]];
  const i = units.findIndex(([, n]) => seconds >= n);
  const [name, n] = units[i];
  const whole = Math.floor(seconds / n);
  const rest = units[i + 1] && Math.floor((seconds - whole * n) / units[i + 1][1]);
  return rest ? `${whole} ${name} ${rest} ${units[i + 1][0]}` : `${whole} ${name}`;
}

/** Prometheus' notation, "1h30m", to seconds; NaN if it is none. */
export function parseDuration(text) {
  const m = /^(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$/.exec(String(text).trim());
  if (!m || !m[0]) return NaN;
  return [31536000, 604800, 86400, 3600, 60, 1].reduce((sum, n, i) => sum + n * Number(m[i + 1] || 0), 0);
}

/** Round values for an axis from lo to hi, about n of them; round in powers of 1024 for bytes. */
export function ticks(lo, hi, n, binary = false) {
  const raw = (hi - lo) / n || 1;
  const unit = binary ? 1024 ** Math.max(0, Math.floor(Math.log(raw) / Math.log(1024))) : 1;
  const power = 10 ** Math.floor(Math.log10(raw / unit));
  const step = [1, 2, 5, 10].find((m) => m * power >= raw / unit * 0.999999) * power * unit;
  const out = [];
  for (let v = Math.ceil(lo / step) * step; v <= hi + step / 1e6; v += step) out.push(Math.abs(v) < step / 1e6 ? 0 : v);
  return out;
}

/** A series' name as PromQL writes it. */
export function seriesName(metric) {
  const { __name__: name = '', ...labels } = metric;
  const inner = Object.entries(labels).map(([k, v]) => `${k}=${JSON.stringify(v)}`).join(', ');
  return inner || !name ? `${name}{${inner}}` : name;
}

export const clock = (t) => new Date(t * 1000).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
export const day = (t) => new Date(t * 1000).toLocaleDateString([], { month: 'short', day: 'numeric' });
export const dateTime = (t) => new Date(t * 1000).toLocaleString();
