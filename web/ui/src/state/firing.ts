// How many alerts fire, for the title, the favicon and the navigation. Silenced
// and inhibited ones do not count, nor what is for information only.
import { computed, effect, signal } from '@preact/signals';
import type { ApiError } from '../api/client';
import { alerts } from '../api/clanmon';
import type { Alert } from '../api/types/alerts';
import { pushed } from '../api/versions';
import { serverNow, tick } from './clock';
import { agent } from './config';

export const allAlerts = signal<Alert[] | undefined>(undefined);
export const alertsTime = signal(0);
export const alertsError = signal<ApiError | undefined>(undefined); // of the last request, if it failed

const counts = (a: Alert) =>
  a.status.state !== 'suppressed' && a.labels.severity !== 'info' && a.labels.severity !== 'none';
export const firing = computed(() => {
  const live = (allAlerts.value ?? []).filter(counts);
  return { total: live.length, critical: live.filter((a) => a.labels.severity === 'critical').length };
});

export async function loadAlerts(): Promise<void> {
  if (agent) return;
  try {
    allAlerts.value = await alerts();
    alertsTime.value = serverNow();
    alertsError.value = undefined;
  } catch (e) {
    alertsError.value = e as ApiError; // the old ones stay
  }
}

let begun = -1;
effect(() => {
  const turn = tick.value + pushed.value; // either grows
  if (turn === begun) return;
  begun = turn;
  void loadAlerts();
});
