// What all tabs of the Machine page know, and the chart as they draw it.
import { createContext } from 'preact';
import { useContext } from 'preact/hooks';
import type { Line } from '../../lib/chart';
import type { Machine } from '../../api/types/machines';
import { Chart as Plain, type ChartProps } from '../../components/Chart';
import { Empty, Snippet } from '../../components/bits';
import { shortError } from '../../lib/errors';
import type { Limiting, RuleLimit } from '../../lib/limits';
import { joined } from '../../lib/machine';
import { inProcess } from '../../lib/place';
import { frozen } from '../../state/clock';
import { useLimiting } from '../../state/limits';

export interface About {
  name: string;
  m: string; // what goes inside {}, as the server says it: machine="alpha"
  earlier: string; // the same for an older part of the range, or ''
  when: number | undefined; // of which time tables are: the end of a fixed range, or when it was last seen
  machine: Machine | undefined; // undefined: nothing knows it any more
  metrics: ReadonlySet<string> | undefined; // names that it had in the range
  scrape: number; // seconds
  jobs: string[];
  away: boolean; // nothing of it answers now
  site?: string; // of the server that watches it, if that is another one
}

export const AboutContext = createContext<About | null>(null);
export const useAbout = () => useContext(AboutContext)!;

// has: one of the names was there in the range. Names may end in *.
export function has(a: About, ...names: string[]): boolean {
  const { metrics } = a;
  return (
    !!metrics &&
    names.some((n) => (n.endsWith('*') ? [...metrics].some((x) => x.startsWith(n.slice(0, -1))) : metrics.has(n)))
  );
}

export interface MachineChart extends Omit<ChartProps, 'limits'> {
  limits?: (all: Limiting[], lines: Line[]) => RuleLimit[];
}

// Rules of this server are about what has the label machine.
export const judged = (a: About) => a.site === undefined && a.m.startsWith('machine=');

export function Chart({ limits, ...p }: MachineChart) {
  const a = useAbout();
  const all = useLimiting(!!limits && judged(a));
  const queries = a.earlier ? p.queries.map((q) => ({ ...q, expr: joined(q.expr, a.m, a.earlier) })) : p.queries;
  return (
    <Plain
      live
      scrape={a.scrape}
      {...p}
      {...(all.length && limits && { limits: (lines) => limits(all, lines) })}
      queries={queries}
    />
  );
}

// NoKind says why a tab has nothing to show, and what to do about it.
export function NoKind({ kind, metrics }: { kind: 'node' | 'systemd'; metrics: string }) {
  const a = useAbout();
  const target = a.machine?.targets?.find((t) => t.job === kind);
  if (target && target.health !== 'up' && !frozen.value) {
    return (
      <div class="panel">
        <Empty
          icon={target.health === 'down' ? 'crit' : 'wait'}
          title={target.health === 'down' ? `The ${kind} exporter is down` : `The ${kind} exporter is not scraped yet`}
          why={shortError(target.lastError)}
        >
          {target.health === 'down' && !inProcess(target.address) && (
            <Snippet text={`curl -sS http://${target.address}/metrics | head`} />
          )}
        </Empty>
      </div>
    );
  }
  if (frozen.value || a.away || target)
    return (
      <div class="panel">
        <Empty
          icon="info"
          title={`No ${metrics} in this range`}
          why={
            frozen.value || a.away
              ? undefined
              : kind === 'systemd' && !a.machine?.unitsKnown
                ? 'The systemd collector is off or failing, or the exporter cannot reach systemd.'
                : 'The exporter responds, but without these metrics. The collector may be off.'
          }
        />
      </div>
    );
  return (
    <div class="panel">
      <Empty
        icon="info"
        title={`No ${kind} exporter on this machine`}
        why={`It provides ${metrics}. On the machine, run:`}
      >
        <Snippet text={`clanmon exporter --exporter ${kind}`} />
      </Empty>
    </div>
  );
}
