import { useMemo } from 'preact/hooks';
import { alertGroups, deliveryStatus } from '../../api/clanmon';
import { ruleAlerts } from '../../api/prom';
import { mergeAlerts, type AlertRow } from '../../lib/alerts';
import { useData } from '../../state/data';
import { alertsError, alertsTime, allAlerts } from '../../state/firing';

// useAlerts is every alert that is pending, fires or is silenced. delivered says
// whether this server delivers alerts itself.
export function useAlerts(): {
  rows: AlertRow[];
  loaded: boolean;
  delivered: boolean;
  error: Error | undefined;
  time: number;
} {
  const rules = useData('rule alerts', ruleAlerts);
  const e = alertsError.value;
  const none = !allAlerts.value && (e?.status === 404 || e?.status === 405);
  const status = useData(none ? null : 'delivery status', deliveryStatus, 300);
  const hours = /^\s*-? ?(mute|active)_time_intervals:/m.test(status.data?.config.original ?? '');
  const groups = useData(hours ? 'alert groups' : null, alertGroups);
  const quiet = useMemo(
    () =>
      new Map(
        (groups.data ?? []).flatMap((g) =>
          g.alerts.filter((a) => a.status.mutedBy?.length).map((a) => [a.fingerprint, a.status.mutedBy!] as const),
        ),
      ),
    [groups.data],
  );
  const rows = useMemo(
    () => mergeAlerts(none ? undefined : (allAlerts.value ?? []), rules.data ?? [], quiet),
    [allAlerts.value, rules.data, none, quiet],
  );
  return {
    rows,
    delivered: !none,
    loaded: (!!allAlerts.value || none) && !!rules.data,
    error: rules.error ?? (none ? undefined : e),
    time: none ? rules.time : Math.min(alertsTime.value, rules.time || Infinity),
  };
}
