import { useMemo } from 'preact/hooks';
import { ruleAlerts } from '../../api/prom';
import { mergeAlerts, type AlertRow } from '../../lib/alerts';
import { useData } from '../../state/data';
import { alertsError, alertsTime, allAlerts } from '../../state/firing';

// useAlerts is every alert that is pending, fires or is silenced. delivered says
// whether this server delivers alerts itself.
export function useAlerts(): { rows: AlertRow[]; loaded: boolean; delivered: boolean; error: Error | undefined; time: number } {
  const rules = useData('rule alerts', ruleAlerts);
  const e = alertsError.value;
  const none = !allAlerts.value && (e?.status === 404 || e?.status === 405);
  const rows = useMemo(() => mergeAlerts(none ? undefined : allAlerts.value ?? [], rules.data ?? []), [allAlerts.value, rules.data, none]);
  return { rows, delivered: !none, loaded: (!!allAlerts.value || none) && !!rules.data, error: rules.error ?? (none ? undefined : e), time: none ? rules.time : Math.min(alertsTime.value, rules.time || Infinity) };
}
