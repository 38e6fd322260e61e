// What a first start looks like: a list that fills in by itself, in place of
// empty tables. It goes away once values are there and alerts are sent somewhere.
import { useState } from 'preact/hooks';
import type { ReceiverState } from '../api/types/alerts';
import type { Discovery } from '../api/types/machines';
import { reachesNobody } from '../lib/alerts';
import { FIGURES, type FleetRow } from '../lib/fleet';
import { recall, remember } from '../state/prefs';
import { storage } from '../state/storage';
import { Ago, Panel, Snippet } from './bits';
import { Icon } from './icons';

const plural = (n: number, what: string) => `${n} ${what}${n === 1 ? '' : 's'}`;

export function FirstSteps({
  rows,
  discovery,
  started,
  receivers,
}: {
  rows: FleetRow[];
  discovery: Discovery | undefined;
  started: number;
  receivers: ReceiverState[] | undefined;
}) {
  const [gone, setGone] = useState(() => recall('firststeps.gone', false));
  const scraped = rows.some((r) => (r.up ?? 0) > 0);
  const values = rows.some((r) => FIGURES.some((f) => r[f] !== undefined));
  // What was seen before this start is not new: the store has its history.
  const seen = values || rows.some((r) => r.lastSeen);
  if (gone || !receivers || !discovery) return null;
  const channel = receivers.some((r) => !reachesNobody(r.integration));
  if (seen && channel) return null;
  const hide = (
    <button
      type="button"
      class="btn plain"
      onClick={() => {
        remember('firststeps.gone', true);
        setGone(true);
      }}
    >
      Hide
    </button>
  );
  // All is well but for one thing, which deserves a line and no more.
  if (seen) {
    return (
      <div class="note row nowraprow">
        <span class="grow">
          Alerts are not sent anywhere yet. To get notified, add a receiver:{' '}
          <code>--notify "ntfy://ntfy.sh/TOPIC"</code>, or a URL for mail, Telegram, Discord, Slack, Teams, Matrix,
          Pushover, Gotify or a webhook.
        </span>
        {hide}
      </div>
    );
  }
  const methods = discovery.methods.filter((m) => m.method !== 'local');
  const broken = methods.filter((m) => m.error);
  const silent = new Set(discovery.waiting?.map((w) => w.machine)).size;
  const by = [...new Set(methods.map((m) => m.method))].join(', ');
  const steps: [boolean, string, preact.ComponentChildren?][] = [
    storage.value?.storing === false
      ? [false, storage.value.reason ?? 'Samples are not stored']
      : [true, 'Storage is ready'],
    broken.length
      ? [false, broken.map((b) => `${b.method}: ${b.error}`).join('; ')]
      : methods.length
        ? [true, `Targets come from ${by}`]
        : [
            false,
            rows.length
              ? 'Only this machine is monitored. To find others, start the server with a discovery method:'
              : 'Nothing is monitored yet. To find machines, start the server with a discovery method:',
            <Snippet text="clanmon server --discovery tailscale" />,
          ],
    rows.length
      ? [true, `${plural(rows.length, 'machine')} found`]
      : [false, silent ? `No machines yet; ${silent} found but not reporting` : 'No machines found yet'],
    [
      scraped && values,
      scraped ? 'First scrape done; values follow after the second' : 'No scrape has succeeded yet',
      !scraped && started ? (
        <span class="dim">
          {' '}
          (server started <Ago time={started} suffix=" ago" />)
        </span>
      ) : undefined,
    ],
    channel
      ? [true, 'Alerts are sent to a receiver']
      : [
          false,
          'Alerts are not sent anywhere yet. To get notified, add a receiver:',
          <Snippet text={'clanmon server --notify "ntfy://ntfy.sh/TOPIC"'} />,
        ],
  ];
  return (
    <Panel title="First steps" tools={hide}>
      <ol class="steps body">
        {steps.map(([done, text, more]) => (
          <li key={text}>
            <span class={`status ${done ? 'ok' : 'off'}`}>
              <Icon name={done ? 'ok' : 'wait'} />
              <span class="sr">{done ? 'Done:' : 'To do:'}</span>
            </span>
            <span class="grow">
              {text}
              {more}
            </span>
          </li>
        ))}
      </ol>
    </Panel>
  );
}
