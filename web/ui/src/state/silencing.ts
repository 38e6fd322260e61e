// A silence of a whole machine from now on, without a form.
import { putSilence } from '../api/clanmon';
import { matcher } from '../lib/alertMatchers';
import { clock } from '../lib/time';
import { refresh, serverNow } from './clock';
import { loadAlerts } from './firing';
import { isUTC, recall } from './prefs';
import { toast } from './toast';
import { who } from './who';

export async function silenceMachine(machine: string, seconds: number, reason: string): Promise<void> {
  const now = serverNow();
  try {
    await putSilence({
      matchers: [matcher('machine', machine)],
      startsAt: new Date((now - 3) * 1000).toISOString(), // not in the future by the server's clock
      endsAt: new Date((now + seconds) * 1000).toISOString(),
      createdBy: who.value?.name || recall('silence.author', '') || 'anonymous',
      comment: reason || 'No reason given',
    });
  } catch (e) {
    return toast(`${machine} could not be silenced: ${(e as Error).message}`, true);
  }
  toast(`${machine} is silenced until ${clock(now + seconds, isUTC(), false)}`);
  void loadAlerts();
  setTimeout(refresh, 3000); // the server judges it anew
}
