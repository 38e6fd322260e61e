// A silence leaves a trace on what it mutes: until when, by whom, why, and a
// button that ends it.
import { signal } from '@preact/signals';
import { useState } from 'preact/hooks';
import { expireSilence } from '../api/clanmon';
import type { ActiveSilence } from '../api/types/machines';
import { clock, date } from '../lib/time';
import { ago } from '../lib/format';
import { refresh, second, serverNow } from '../state/clock';
import { loadAlerts } from '../state/firing';
import { href } from '../state/location';
import { isUTC } from '../state/prefs';
import { toast } from '../state/toast';
import { Status } from './Status';
import { ChangeButton } from './Who';

const end = (s: ActiveSilence) => Date.parse(s.until) / 1000;
const last = (list: ActiveSilence[]) => list.reduce((a, b) => (end(a) > end(b) ? a : b));

// The time of the day is enough for what ends today.
function until(time: number): string {
  const utc = isUTC();
  const today = date(serverNow(), utc) === date(time, utc);
  return today ? clock(time, utc, false) : `${date(time, utc)} ${clock(time, utc, false)}`;
}

export const untilText = (list: ActiveSilence[]) => `until ${until(end(last(list)))}`;
export const silenceTitle = (list: ActiveSilence[]) =>
  list.map((s) => `Silenced until ${until(end(s))} by ${s.by}: ${s.comment}`).join('\n');

// The server takes a few seconds to judge anew; what was ended here is over.
const ended = signal<ReadonlySet<string>>(new Set());

export function SilenceTrace({ list }: { list: ActiveSilence[] | null | undefined }) {
  const shown = (list ?? []).filter((s) => !ended.value.has(s.id));
  if (!shown.length) return null;
  return (
    <ul class="silencelist" aria-label="Silences">
      {shown.map((s) => (
        <One key={s.id} s={s} />
      ))}
    </ul>
  );
}

function One({ s }: { s: ActiveSilence }) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState('');
  const left = end(s) - second.value;
  const finish = async () => {
    setBusy(true);
    setError('');
    try {
      await expireSilence(s.id);
      toast('Silence ended');
      ended.value = new Set([...ended.peek(), s.id]);
      await loadAlerts();
      setTimeout(refresh, 3000);
    } catch (e) {
      setError((e as Error).message);
      setBusy(false);
    }
  };
  return (
    <li>
      <Status level="off" icon="silence">
        {s.whole ? 'Silenced' : 'Partly silenced'}
      </Status>
      <a class="grow wrap" href={href('/silences', { q: s.comment })}>
        until {until(end(s))}
        {left > 0 && ` (${ago(left)} left)`} by {s.by}: {s.comment}
      </a>
      <ChangeButton type="button" class="btn" disabled={busy} onClick={() => void finish()}>
        End silence
      </ChangeButton>
      {error && (
        <span class="status crit wrap" role="alert">
          {error}
        </span>
      )}
    </li>
  );
}
