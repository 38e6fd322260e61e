// The share of time in which a machine was up, by calendar month.
import { uptime } from '../api/uptime';
import type { UptimeMonth, UptimeShare } from '../api/types/uptime';
import { details, intermittent, levelOf, monthName, shareText } from '../lib/uptime';
import { useData } from '../state/data';
import { href } from '../state/location';
import { ErrorNote, Loading, Panel, Time } from './bits';
import { Status } from './Status';

export function UptimeShareText({ s, month }: { s: UptimeShare | undefined; month: UptimeMonth }) {
  if (!s)
    return (
      <span class="dim" title="Nothing recorded">
        –
      </span>
    );
  const title = details(s, month).join('\n') || undefined;
  if (s.ratio === undefined)
    return (
      <span class="dim nowrap" title={title}>
        {intermittent(s) ? 'intermittent' : 'maintenance'}
      </span>
    );
  const level = levelOf(s.ratio);
  return (
    <span class="nowrap" title={title}>
      {level ? <Status level={level}>{shareText(s.ratio)}</Status> : shareText(s.ratio)}
    </span>
  );
}

const SHOWN = 13; // months: the same one a year ago too

// MachineUptime is the panel of one machine.
export function MachineUptime({ machine }: { machine: string }) {
  const got = useData(`uptime ${machine}`, (s) => uptime(machine, s), 300);
  const months = got.data?.machines[0]?.months ?? {};
  const known = (got.data?.months ?? [])
    .filter((m) => months[m.name])
    .slice(-SHOWN)
    .reverse();
  if (got.data && !known.length) return null;
  return (
    <Panel title="Uptime by month">
      <div class="body stack">
        <ErrorNote error={got.error} what="Uptime could not be loaded" />
        {!got.data && !got.error && <Loading lines={2} />}
        {got.data?.counted !== undefined && (
          <p class="note" role="status">
            Reading stored data: complete up to <Time time={got.data.counted} />.
          </p>
        )}
        {known.length > 0 && (
          <dl class="factline">
            {known.map((m) => (
              <div key={m.name}>
                <dt>{monthName(m.name)}</dt>
                <dd>
                  <UptimeShareText s={months[m.name]} month={m} />
                  <div class="dim">{details(months[m.name]!, m).join(', ')}</div>
                </dd>
              </div>
            ))}
          </dl>
        )}
        <p class="dim">
          Share of the recorded time in which this server could scrape the machine.{' '}
          <a href={href('/uptime')}>All machines</a>
        </p>
      </div>
    </Panel>
  );
}
