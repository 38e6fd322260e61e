// What all tabs of the Machine page know, and the chart as they draw it.
import { createContext } from 'preact';
import { useContext } from 'preact/hooks';
import type { Machine } from '../../api/types/machines';
import { Chart as Plain, type ChartProps } from '../../components/Chart';
import { Empty, Snippet } from '../../components/bits';
import type { Mark } from '../../lib/chart';

export interface About {
  name: string;
  m: string; // the matcher: machine="alpha"
  machine: Machine | undefined; // undefined: discovery does not know it any more
  metrics: ReadonlySet<string> | undefined; // names that it had in the range
  marks: Mark[];
  scrape: number; // seconds
  jobs: string[];
  away: boolean; // nothing of it answers now
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

export function Chart(p: ChartProps) {
  const a = useAbout();
  return <Plain live marks={a.marks} scrape={a.scrape} {...p} />;
}

// NoKind says why a tab has nothing to show, and what to do about it.
export function NoKind({ kind, metrics }: { kind: 'node' | 'systemd'; metrics: string }) {
  const a = useAbout();
  const target = a.machine?.targets?.find((t) => t.job === kind);
  if (target && target.health !== 'up') {
    return (
      <div class="panel">
        <Empty
          icon="crit"
          title={
            target.health === 'down' ? `The ${kind} exporter does not answer` : `The ${kind} exporter was not asked yet`
          }
          why={target.lastError}
        >
          <Snippet text={`curl -sS http://${target.address}/metrics | head`} />
        </Empty>
      </div>
    );
  }
  return (
    <div class="panel">
      <Empty
        icon="info"
        title={target ? `No ${metrics} in this range` : `No ${kind} exporter is known for this machine`}
        why={
          target
            ? 'The exporter answers, but without these. They may be switched off there, or the range lies before the first sample.'
            : `Metrics such as ${metrics} come from it. On the machine:`
        }
      >
        {!target && <Snippet text={`clanmon exporter --exporter ${kind}`} />}
      </Empty>
    </div>
  );
}
