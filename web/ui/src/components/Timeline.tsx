// Timeline draws spans of time in one state as a strip.
import { clock, date, dateTime } from '../lib/time';
import { isUTC } from '../state/prefs';
import { ago } from '../lib/format';
import type { Level } from './Status';

export interface TimeSpan {
  from: number;
  to: number;
  level: Level | 'none' | 'gap';
  label: string;
}

export function Timeline({
  spans,
  from,
  to,
  label,
  axis = false,
}: {
  spans: TimeSpan[];
  from: number;
  to: number;
  label: string;
  axis?: boolean;
}) {
  const length = Math.max(1, to - from);
  const utc = isUTC();
  const x = (t: number) => `${(Math.min(1, Math.max(0, (t - from) / length)) * 100).toFixed(3)}%`;
  const days = length > 36 * 3600;
  const tick = (t: number) => (days ? `${date(t, utc).slice(5)} ${clock(t, utc, false)}` : clock(t, utc, false));
  return (
    <div class="timeline">
      <div class="strip" role="img" aria-label={label}>
        {spans
          .filter((s) => s.level !== 'none')
          .map((s) => (
            <span
              key={s.from}
              class={s.level}
              style={{
                left: `min(${x(s.from)}, calc(100% - 3px))`,
                width: `max(3px, ${((s.to - s.from) / length) * 100}%)`,
              }}
              title={`${s.label}\n${dateTime(s.from, utc, true)}, for ${ago(s.to - s.from)}`}
            />
          ))}
      </div>
      {axis && (
        <div class="ends" aria-hidden="true">
          <span>{tick(from)}</span>
          <span>{tick((from + to) / 2)}</span>
          <span>{tick(to)}</span>
        </div>
      )}
    </div>
  );
}
