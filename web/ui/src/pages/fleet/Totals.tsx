// What all machines that the filter shows come to, now and in the last day.
import { useEffect, useMemo, useState } from 'preact/hooks';
import { queryRange } from '../../api/prom';
import { lookOf } from '../../components/MachineState';
import { Spark } from '../../components/Spark';
import { Status } from '../../components/Status';
import { inOrder, type FleetRow } from '../../lib/fleet';
import { format } from '../../lib/format';
import { DAY, totals, TREND_STEP, trendQuery, trendsOf } from '../../lib/totals';
import { at, serverNow } from '../../state/clock';
import { useData } from '../../state/data';

// counts are how many look how, the worst first.
function counts(rows: FleetRow[]) {
  const by = new Map<string, { look: ReturnType<typeof lookOf>; n: number; rank: number }>();
  for (const r of rows) {
    const look = lookOf(r);
    const c = by.get(look.word) ?? { look, n: 0, rank: inOrder(r) };
    by.set(look.word, { ...c, n: c.n + 1 });
  }
  return [...by.values()].sort((a, b) => a.rank - b.rank);
}

const EVERY = 600; // seconds; a point is half an hour

// elsewhere: the table has machines of other servers too, which are not counted here.
export function Totals({ rows, all, elsewhere }: { rows: FleetRow[]; all: number; elsewhere: boolean }) {
  const t = useMemo(() => totals(rows), [rows]);
  const wanted = useMemo(
    () => (rows.length ? trendQuery(rows.length === all ? undefined : rows.map((r) => r.name)) : ''),
    [rows.length === all || rows.map((r) => r.name).join('\n')],
  );
  // Whoever types a filter does not ask for each letter.
  const [expr, setExpr] = useState(wanted);
  useEffect(() => {
    const timer = setTimeout(() => setExpr(wanted), 800);
    return () => clearTimeout(timer);
  }, [wanted]);
  const trend = useData(
    expr ? `trend ${expr}` : null,
    async (signal) => {
      // The strips end at the next full step, so that all who look share one evaluation.
      const end = Math.ceil((at.value ?? serverNow()) / TREND_STEP) * TREND_STEP;
      const start = end - DAY;
      return trendsOf(await queryRange(expr, start, end, TREND_STEP, signal), start, end, TREND_STEP);
    },
    EVERY,
  );
  if (rows.length < 2) return null;
  const s = expr === wanted ? trend.data : undefined;
  const strip = (what: string, values: (number | null)[] | undefined, max?: number) => (
    <dd class="strip24">
      <Spark values={values} label={`${what} over the last 24 hours`} {...(max !== undefined && { max })} />
    </dd>
  );
  return (
    <dl class="totals" aria-label="Totals">
      <div>
        <dt>
          {elsewhere ? 'Machines here' : 'Machines'}
          {rows.length !== all && `, of ${all}`}
        </dt>
        <dd>
          <b>{rows.length}</b>
          <span class="states">
            {counts(rows).map(({ look, n }) => (
              <Status key={look.word} level={look.level} icon={look.icon}>
                {n} <span class="sr">{look.word}</span>
              </Status>
            ))}
          </span>
        </dd>
        {strip('Machines that are down, critical or have a warning,', s?.troubled)}
      </div>
      <div>
        <dt>CPU</dt>
        <dd>
          <b>{format(t.cpu, 'ratio')}</b>
        </dd>
        {strip('CPU', s?.cpu, 1)}
      </div>
      <div>
        <dt>Memory</dt>
        <dd>
          <b>{format(t.memory, 'ratio')}</b>
        </dd>
        {strip('Memory', s?.memory, 1)}
      </div>
      <div>
        <dt>Network, bit/s</dt>
        <dd>
          <b>{format(t.receive === undefined ? undefined : t.receive * 8)}</b> <span class="dim">↓</span>{' '}
          <b>{format(t.transmit === undefined ? undefined : t.transmit * 8)}</b> <span class="dim">↑</span>
        </dd>
        {strip('Network', s?.network)}
      </div>
    </dl>
  );
}
