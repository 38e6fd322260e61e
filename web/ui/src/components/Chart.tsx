// Chart draws range queries: it asks (chart/useLines), draws (chart/Plot) and names
// the lines (chart/Legend).
import type { ComponentChildren } from 'preact';
import { told } from '../api/client';
import { useEffect, useRef, useState } from 'preact/hooks';
import { exprFor, lastIndex, type Line, type Mark } from '../lib/chart';
import type { Unit } from '../lib/format';
import { inSight, type RuleLimit } from '../lib/limits';
import { panelOf, type Threshold } from '../lib/panel';
import { frozen, useOld } from '../state/clock';
import { useNotKept } from '../state/kept';
import { param, setParams } from '../state/location';
import { Ago, Empty, ErrorNote, Overlay } from './bits';
import { Legend, useHidden } from './chart/Legend';
import { atText, Plot } from './chart/Plot';
import { saveCSV, savePNG } from './chart/save';
import { useBands, useLines, type Asking } from './chart/useLines';
import { ChartMenu, slug } from './ChartMenu';
import { useMarks } from './Marks';

export interface ChartProps extends Asking {
  id?: string; // in the URL where it is large; made of the title by default
  title: string;
  note?: string; // what the figures are of, beside the title
  level?: 2 | 3; // of the heading
  unit?: Unit;
  area?: boolean; // lines are filled, not stacked
  thresholds?: Threshold[];
  limits?: (lines: Line[]) => RuleLimit[]; // of alerting rules
  min?: number;
  max?: number; // of the axis, at least
  height?: number;
  marks?: Mark[]; // in place of those of the page
  live?: boolean; // samples are expected up to now: say so when they end
  tools?: (lines: Line[]) => ComponentChildren;
  empty?: { title: string; why?: string };
  hideEmpty?: boolean; // show nothing where there is no data, as for absent hardware
}

// Chart, and the same chart large while the URL says so.
export function Chart(p: ChartProps) {
  const id = p.id ?? slug(p.title);
  return (
    <>
      <One {...p} />
      {param('chart') === id && (
        <Overlay kind="dialog" wide title={p.title} onClose={() => setParams({ chart: null }, false)}>
          <One {...p} full height={Math.max(220, window.innerHeight - 260)} most={Math.max(p.most ?? 0, 200)} />
        </Overlay>
      )}
    </>
  );
}

function One(p: ChartProps & { full?: boolean }) {
  const box = useRef<HTMLElement>(null);
  const [seen, setSeen] = useState(false);
  useEffect(() => {
    const o = new IntersectionObserver((es) => setSeen(es.some((e) => e.isIntersecting)), { rootMargin: '200px' });
    o.observe(box.current!);
    return () => o.disconnect();
  }, []);
  const { data, error, exprs, gone } = useLines(p, seen, p.hideEmpty);
  const [banded, setBanded] = useState<boolean>();
  const band = useBands(p, data, seen, banded);
  const hidden = useHidden();
  const [cursor, setCursor] = useState<number | null>(null);
  const [focus, setFocus] = useState<string | null>(null);
  const around = useMarks(data?.lines);
  const marks = p.marks ?? around;
  const empty = !!data && !data.lines.length;
  const last = data ? lastIndex(data.lines, data.times.length) : null;
  const old = useOld(data?.time);
  const ended =
    data &&
    p.live &&
    !frozen.value &&
    last !== null &&
    data.times.at(-1)! - data.times[last]! > Math.max(2.5 * data.step, 4 * (p.scrape ?? 15))
      ? data.times[last]!
      : undefined;
  const limits = data && p.limits ? inSight(p.limits(data.lines), data.lines, p) : [];
  const thresholds = limits.length ? [...(p.thresholds ?? []), ...limits] : p.thresholds;
  const height = p.height ?? 170;
  const many = !!data && data.lines.length > 8;
  const kept = useNotKept(empty && !gone);
  const id = p.id ?? slug(p.title);
  const H = `h${p.level ?? 2}` as 'h2';

  return (
    <section
      class={`panel chart${p.full ? ' full' : ''}`}
      ref={box as never}
      aria-label={p.title}
      hidden={gone}
      data-chart={p.full ? undefined : id}
    >
      <header>
        {!p.full && (
          <H>
            {p.title}
            {p.note && <span class="of">{p.note}</span>}
          </H>
        )}
        {data && cursor !== null && data.times[cursor] !== undefined && (
          <span class="at">{atText(data.times[cursor]!, data)}</span>
        )}
        {ended !== undefined && (
          <span class="status badge warn">
            last sample <Ago time={ended} suffix=" ago" />
          </span>
        )}
        {old && ended === undefined && (
          <span class="status badge warn">
            last drawn <Ago time={data!.time} suffix=" ago" />
          </span>
        )}
        {data && p.tools?.(data.lines)}
        <ChartMenu
          id={id}
          title={p.title}
          unit={p.unit}
          panel={() => panelOf(p, data?.lines.filter((l) => !l.past) ?? [])}
          exprs={exprs}
          rules={p.queries.map((q) => exprFor(q.expr, 300, p.scrape))}
          full={!!p.full}
          lines={data?.lines}
          {...(band.can && { band: { on: band.on, set: setBanded } })}
          {...(data &&
            !empty && {
              onCSV: () => saveCSV(id, data.times, data.lines),
              onPNG: () =>
                savePNG(
                  id,
                  p.title,
                  box.current!.querySelector('canvas')!,
                  data.lines.filter((l) => !hidden.off.has(l.name)),
                ),
            })}
        />
      </header>
      <ErrorNote error={error} />
      {!data && (!error || told(error)) && (
        <div style={{ height: `${height + 34}px`, padding: '12px' }}>
          <div class="skeleton" style={{ height: '100%' }} />
        </div>
      )}
      {empty && !error && (
        <Empty
          icon="chart"
          title={
            (!kept && data.filling && 'Not enough samples yet') || (!kept && p.empty?.title) || 'No data in this range'
          }
          why={kept ?? (data.filling ? 'A rate needs at least four scrapes.' : p.empty?.why)}
        />
      )}
      {data && !empty && (
        <>
          <Plot
            {...p}
            {...(thresholds && { thresholds })}
            marks={marks}
            height={height}
            data={data}
            bands={band.bands}
            off={hidden.off}
            onCursor={setCursor}
            onFocus={setFocus}
            stale={old || ended !== undefined}
          />
          <div class={`legend${many && !p.full ? ' many' : ''}${ended !== undefined ? ' stale' : ''}`}>
            <Legend
              lines={data.lines}
              at={cursor ?? last}
              unit={p.unit}
              stack={p.stack}
              stats={!!p.full}
              thresholds={thresholds}
              focus={focus}
              off={hidden.off}
              onToggle={(name, only) => hidden.toggle(name, only, data.lines)}
            />
            {data.hiddenSeries > 0 && <span class="dim">and {data.hiddenSeries} more, not drawn</span>}
          </div>
        </>
      )}
    </section>
  );
}
