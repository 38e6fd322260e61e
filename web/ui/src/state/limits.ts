// The limits of alerting rules as the server evaluates them, for charts.
import { useMemo } from 'preact/hooks';
import { alertRules } from '../api/prom';
import { request } from '../api/client';
import { joint, limiting, RULES, type Limiting } from '../lib/limits';
import type { Node } from '../lib/promql';
import { useData } from './data';

const none: Limiting[] = [];

// useLimiting are the rules of which charts draw limits; none until they are known.
export function useLimiting(want = true): Limiting[] {
  const groups = useData(want ? 'alert rules' : null, alertRules, 60);
  const rules = useMemo(
    () => (groups.data ?? []).flatMap((g) => g.rules).filter((r) => RULES.includes(r.name)),
    [groups.data],
  );
  const query = joint(rules);
  const tree = useData(
    query ? `limits ${query}` : null,
    (signal) => request<Node>('/api/v1/parse_query', { params: { query }, signal }),
    3600,
  );
  return useMemo(() => (tree.data ? limiting(rules, tree.data) : none), [tree.data, rules]);
}
