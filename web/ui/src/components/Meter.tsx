import { percent } from '../lib/format';

// Meter draws a ratio as a bar and a number; thresholds colour it. Without any
// (plain) it says how much, not whether that is well.
export function Meter({
  value,
  warn = 0.8,
  crit = 0.92,
  plain,
}: {
  value: number | undefined;
  warn?: number;
  crit?: number;
  plain?: boolean;
}) {
  if (value === undefined || Number.isNaN(value)) return <span class="meter dim">{percent(undefined)}</span>;
  const level = plain ? ' plain' : value >= crit ? ' crit' : value >= warn ? ' warn' : '';
  const width = `${Math.min(100, Math.max(0, value * 100)).toFixed(1)}%`;
  return (
    <span class="meter">
      <span class="track" aria-hidden="true">
        <span class={`fill${level}`} style={{ width, display: 'block' }} />
      </span>
      <b>{percent(value)}</b>
    </span>
  );
}
