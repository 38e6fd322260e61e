import { useMemo } from 'preact/hooks';
import { alertGroups, deliveryStatus, internalAlerts } from '../../api/clanmon';
import { alertRules, ruleAlerts } from '../../api/prom';
import { mergeAlerts, type AlertRow } from '../../lib/alerts';
import { useData } from '../../state/data';
import { alertsError, alertsTime, allAlerts } from '../../state/firing';

// useAlertRules are the alerting rules by group, which change rarely.
export const useAlertRules = (want = true) => useData(want ? 'alert rules' : null, alertRules, 60);

// useInhibitors names the alerts that inhibit others, by fingerprint. Internal ones
// are not among the alerts that are shown, so they are asked for where it takes them.
export function useInhibitors(rows: AlertRow[]): ReadonlyMap<string, AlertRow | string> {
  const known = useMemo(() => new Map<string, AlertRow | string>(rows.map((r) => [r.key, r])), [rows]);
  const machines = useMemo(
    () => [...new Set(rows.filter((r) => r.inhibitedBy.some((k) => !known.has(k))).map((r) => r.machine))].sort(),
    [rows, known],
  );
  const found = useData(machines.length ? `internal alerts ${machines.join(' ')}` : null, (s) =>
    internalAlerts(machines, s),
  );
  return useMemo(() => {
    const all = new Map(known);
    for (const a of found.data ?? []) all.set(a.fingerprint, a.labels.alertname ?? '');
    return all;
  }, [known, found.data]);
}

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
