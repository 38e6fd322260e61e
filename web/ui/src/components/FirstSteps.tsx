// What a first start looks like: a list that fills in by itself, in place of
// empty tables. It goes away once figures are there and somebody is told.
import { useEffect, useState } from 'preact/hooks';
import type { ReceiverState } from '../api/types/alerts';
import type { Discovery, Machine } from '../api/types/machines';
import { reachesNobody } from '../lib/alerts';
import { refresh } from '../state/clock';
import { recall, remember } from '../state/prefs';
import { Panel, Snippet } from './bits';
import { Icon } from './icons';

export function FirstSteps({
  found,
  discovery,
  seen,
  told,
}: {
  found: Machine[];
  discovery: Discovery | undefined;
  seen: boolean;
  told: ReceiverState[] | undefined;
}) {
  const [gone, setGone] = useState(() => recall('firststeps.gone', false));
  const incomplete = !gone && !seen;
  useEffect(() => {
    // Somebody is waiting for the first figures: do not let them wait for a tick.
    if (!incomplete) return;
    const timer = setInterval(() => {
      if (!document.hidden) refresh();
    }, 5000);
    return () => clearInterval(timer);
  }, [incomplete]);
  if (gone || !told) return null;
  const scraped = found.some((m) => m.targets?.some((t) => t.health === 'up'));
  const channel = told.some((r) => !reachesNobody(r.integration));
  if (scraped && seen && channel) return null;
  const methods = discovery?.methods ?? [];
  const broken = methods.filter((m) => m.error);
  const sources = [...new Set(found.flatMap((m) => m.sources ?? []))].filter((s) => s !== 'local');
  const idle = [...new Set(methods.map((m) => m.method))].filter((m) => !sources.includes(m)); // on, and nothing found
  const steps: [boolean, string, preact.ComponentChildren?][] = [
    [true, 'Storage is ready'],
    sources.length || idle.length
      ? [
          !broken.length && !idle.length,
          broken.length
            ? broken.map((b) => `${b.method}: ${b.error}`).join('; ')
            : [
                sources.length && `Machines are found by ${sources.join(', ')}`,
                idle.length &&
                  `${idle.join(', ')} ${idle.length === 1 ? 'is' : 'are'} on and ${idle.length === 1 ? 'has' : 'have'} found nothing that answers`,
              ]
                .filter(Boolean)
                .join('; '),
        ]
      : [
          false,
          found.length
            ? 'Only this machine is watched. To find others, start the server with a discovery method:'
            : 'No discovery method is chosen, and no machine is named in the configuration. Start the server with one:',
          <Snippet text="clanmon server --discovery tailscale" />,
        ],
    [
      found.length > 0,
      found.length ? `${found.length} machine${found.length === 1 ? '' : 's'} found` : 'No machine found yet',
    ],
    [
      scraped && seen,
      !found.length
        ? 'No figures yet'
        : !scraped
          ? 'The first scrape is on its way'
          : seen
            ? 'First figures are here'
            : 'The first scrape is done; figures follow with the second one',
    ],
    channel
      ? [true, 'Alerts reach somebody']
      : [
          false,
          'Alerts are only shown here. To be told, name somebody:',
          <Snippet text={'clanmon server --notify "ntfy://ntfy.sh/TOPIC"'} />,
        ],
  ];
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
  if (scraped && seen) {
    return (
      <div class="note row nowraprow">
        <span class="grow">
          Nobody is told of alerts: they are only shown here. Start the server with{' '}
          <code>--notify "ntfy://ntfy.sh/TOPIC"</code>, or an address of mail, Matrix, Slack, Gotify or a webhook.
        </span>
        {hide}
      </div>
    );
  }
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
