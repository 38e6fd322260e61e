// Receivers of notifications, whether they work, a test; routes and quiet hours as
// the configuration has them.
import { useState } from 'preact/hooks';
import {
  deliveryStatus,
  digest as fetchDigest,
  receivers as fetchReceivers,
  schedule as fetchSchedule,
  testReceiver,
} from '../../api/clanmon';
import type { Digest, ReceiverState, ReceiverTest, Schedule } from '../../api/types/alerts';
import { integrationName, reachesNobody, sections } from '../../lib/alerts';
import { format } from '../../lib/format';
import { OK, FAILING, NOTHING_SENT } from '../../lib/words';
import { refresh } from '../../state/clock';
import { useData } from '../../state/data';
import { Ago, Empty, ErrorNote, Panel, Snippet, stale, Time } from '../bits';
import { Icon } from '../icons';
import { Status } from '../Status';
import { ChangeButton } from '../Who';

const when = (t: string | undefined) => (t ? Date.parse(t) / 1000 : undefined);

export function NotificationsCard() {
  const list = useData('receivers', fetchReceivers);
  const status = useData('delivery status', deliveryStatus, 300);
  const times = useData(list.data ? 'notification schedule' : null, fetchSchedule, 60);
  const [open, setOpen] = useState(false);
  const off = list.error?.status === 404;
  const byName = new Map<string, ReceiverState[]>();
  for (const r of (list.data ?? []).filter((r) => !reachesNobody(r.integration)))
    byName.set(r.receiver, [...(byName.get(r.receiver) ?? []), r]);
  const config = status.data
    ? sections(status.data.config.original, ['route', 'time_intervals', 'mute_time_intervals', 'inhibit_rules'])
    : '';
  return (
    <Panel title="Notifications" label="Notifications">
      {off ? (
        <Empty
          icon="alerts"
          title="Sent to other Alertmanagers"
          why="This server sends its alerts to the Alertmanagers of its configuration file."
        />
      ) : (
        <div class="body stack">
          <ErrorNote error={list.error} what={list.data ? stale(list.time) : 'The receivers could not be loaded'} />
          {list.loading && !list.error && <div class="skeleton" />}
          {list.data && !byName.size && (
            <Empty
              icon="alerts"
              title="No notifications configured"
              why="Alerts are not sent anywhere yet. Add one of:"
            >
              <Snippet
                text={
                  'clanmon server --notify ntfy://ntfy.sh/YOUR-TOPIC\nclanmon server --notify mailto:you@example.org?smarthost=localhost:25'
                }
              />
            </Empty>
          )}
          {[...byName].map(([name, integrations]) => (
            <Receiver key={name} name={name} integrations={integrations} />
          ))}
          {times.data && <Times s={times.data} />}
          {config && (
            <div class="stack">
              <button type="button" class="btn plain left" aria-expanded={open} onClick={() => setOpen(!open)}>
                <Icon name={open ? 'up' : 'down_'} />
                Routes, inhibitions and quiet hours
              </button>
              {open && (
                <>
                  <p class="dim">From the configuration file. Secrets are masked.</p>
                  <div class="config">
                    <Snippet text={config} />
                  </div>
                </>
              )}
            </div>
          )}
        </div>
      )}
    </Panel>
  );
}

// Times are quiet hours and the digest, with a preview of it.
function Times({ s }: { s: Schedule }) {
  const [preview, setPreview] = useState<Digest | undefined>();
  const [error, setError] = useState<Error | undefined>();
  const [busy, setBusy] = useState(false);
  const show = async () => {
    setBusy(true);
    setError(undefined);
    try {
      setPreview(await fetchDigest());
    } catch (e) {
      setError(e as Error);
    }
    setBusy(false);
  };
  return (
    <>
      {s.quiet && (
        <section class="receiver" aria-label="Quiet hours">
          <h3>Quiet hours</h3>
          <p class={s.quiet.active ? '' : 'dim'}>
            {s.quiet.active ? (
              <>
                Only critical alerts are sent
                {s.quiet.until && (
                  <>
                    {' '}
                    until <Time time={when(s.quiet.until)} />
                  </>
                )}
                .
              </>
            ) : (
              <>
                {s.quiet.hours.join(' and ')} ({s.timeZone})
              </>
            )}
          </p>
        </section>
      )}
      <section class="receiver" aria-label="Digest">
        <div class="row nowraprow">
          <h3 class="grow">Digest</h3>
          <button
            type="button"
            class="btn"
            disabled={busy}
            onClick={() => (preview ? setPreview(undefined) : void show())}
          >
            <Icon name={preview ? 'up' : 'down_'} />
            {preview ? 'Hide preview' : 'Preview'}
          </button>
        </div>
        <p class="dim">
          {s.digest ? (
            <>
              {s.digest.every}, next <Time time={when(s.digest.next)} />
            </>
          ) : (
            <>
              Not sent. Set <code>--notify.digest weekly</code>.
            </>
          )}
        </p>
        <ErrorNote error={error} what="The digest could not be loaded" />
        {preview &&
          (preview.title ? (
            <div class="note stack" role="status">
              <b>{preview.title}</b>
              {preview.text.split('\n').map((line) => (
                <span key={line}>{line}</span>
              ))}
            </div>
          ) : (
            <p class="note" role="status">
              Nothing to report yet.
            </p>
          ))}
      </section>
    </>
  );
}

function Receiver({ name, integrations }: { name: string; integrations: ReceiverState[] }) {
  const [busy, setBusy] = useState(false);
  const [results, setResults] = useState<ReceiverTest[] | undefined>();
  const [error, setError] = useState<Error | undefined>();
  const test = async () => {
    setBusy(true);
    setError(undefined);
    setResults(undefined);
    try {
      setResults(await testReceiver(name));
    } catch (e) {
      setError(e as Error);
    }
    setBusy(false);
    refresh();
  };
  return (
    <section class="receiver" aria-label={`Receiver ${name}`}>
      <div class="row nowraprow">
        <h3 class="grow ellipsis">{name}</h3>
        <ChangeButton type="button" class="btn" disabled={busy} onClick={() => void test()}>
          <Icon name="play" />
          {busy ? 'Sending…' : 'Send test'}
        </ChangeButton>
      </div>
      {integrations.map((i) => {
        const good = when(i.lastSuccess);
        const bad = when(i.lastFailure);
        const failing = bad !== undefined && (good === undefined || bad > good);
        return (
          <div key={i.integration} class="integration">
            <div class="row">
              <b>{integrationName(i.integration)}</b>
              {failing ? (
                <Status level="crit">{FAILING}</Status>
              ) : good ? (
                <Status level="ok">{OK}</Status>
              ) : (
                <Status level="off" icon="wait">
                  {NOTHING_SENT}
                </Status>
              )}
            </div>
            {good && (
              <p class="dim">
                last sent <Ago time={good} suffix=" ago" />
              </p>
            )}
            {bad && (
              <p class={failing ? 'wrap' : 'dim wrap'}>
                failed <Ago time={bad} suffix=" ago" />
                {i.lastError && `: ${i.lastError}`}
              </p>
            )}
          </div>
        );
      })}
      <ErrorNote error={error} what="The test was not sent" />
      {results && (
        <div role="status">
          {results.map((r) => (
            <p key={r.integration} class={`note wrap ${r.ok ? '' : 'crit'}`}>
              {integrationName(r.integration)}: {r.ok ? 'accepted' : r.error || 'failed'} after{' '}
              {format(r.seconds, 'seconds')}
            </p>
          ))}
        </div>
      )}
    </section>
  );
}
