// Whether "nothing is firing" can be believed: rules have to be there, evaluated,
// and given something new to look at.
import type { FleetRow } from '../api/types/machines';
import type { AlertRuleGroup } from '../api/types/alerts';
import { ago } from './format';

export interface Doubt {
  text: string;
  soon?: boolean; // it goes by itself: the server was just started
  flag?: string; // a command that helps
  page?: { path: string; params: Record<string, string>; title: string }; // where to look
}

export interface Looking {
  groups: AlertRuleGroup[];
  // How many targets respond: undefined where no sample is younger than five minutes.
  responding: number | undefined;
  fleet: Pick<FleetRow, 'name' | 'judged'>[] | undefined;
  now: number;
}

const plural = (n: number, one: string, more = `${one}s`) => `${n} ${n === 1 ? one : more}`;

// doubts are the reasons why something may be wrong though no alert fires.
export function doubts({ groups, responding, fleet, now }: Looking): Doubt[] {
  const out: Doubt[] = [];
  const rules = groups.flatMap((g) => g.rules);
  const rulesPage = { path: '/rules', params: { type: 'alerting' }, title: 'Rules' };
  if (!rules.length) {
    out.push({ text: 'No alerting rules are loaded.', flag: 'clanmon server --rules.builtin=on' });
  } else {
    const failing = rules.filter((r) => r.health === 'err').length;
    if (failing)
      out.push({
        text: `${failing} of ${plural(rules.length, 'alerting rule')} ${failing === 1 ? 'fails' : 'fail'}.`,
        page: { path: '/rules', params: { state: 'failing' }, title: 'Failing rules' },
      });
    const late = groups.filter((g) => now - Date.parse(g.lastEvaluation) / 1000 > Math.max(120, 3 * g.interval));
    const never = rules.filter((r) => r.health === 'unknown').length;
    if (never === rules.length)
      out.push({ text: 'The rules have not been evaluated yet.', soon: true, page: rulesPage });
    else if (never)
      out.push({
        text: `${never} of ${rules.length} alerting rules have not been evaluated yet.`,
        soon: true,
        page: rulesPage,
      });
    const evaluated = late.map((g) => Date.parse(g.lastEvaluation) / 1000).filter((t) => t > 0);
    if (evaluated.length)
      out.push({
        text: `${plural(evaluated.length, 'rule group')} ${evaluated.length === 1 ? 'was' : 'were'} last evaluated ${ago(now - Math.min(...evaluated))} ago.`,
        page: rulesPage,
      });
  }
  const targets = { path: '/targets', params: {}, title: 'Targets' };
  if (responding === undefined) out.push({ text: 'No samples arrived in the last 5 minutes.', page: targets });
  else if (responding === 0) out.push({ text: 'No target responds.', page: targets });
  const unjudged = (fleet ?? []).filter((r) => r.judged === false);
  if (rules.length && unjudged.length) {
    const few = unjudged.slice(0, 3).map((r) => r.name);
    const more = unjudged.length > few.length ? ` and ${unjudged.length - few.length} more` : '';
    out.push({
      text: `No rule covers ${unjudged.length} of ${plural(fleet!.length, 'machine')}: ${few.join(', ')}${more}.`,
      page: { path: '/', params: { show: 'unjudged' }, title: 'Machines without rules' },
    });
  }
  return out;
}
