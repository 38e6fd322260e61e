// PanelChart draws a chart that is data (lib/panel), with values for its variables.
import { unitNamed } from '../lib/format';
import { filledPanel, named, type Panel, type Vars } from '../lib/panel';
import { seriesName } from '../lib/chart';
import { Chart, type ChartProps } from './Chart';

// What the page adds that shows it: a height, marks, an id where titles repeat.
type More = Omit<ChartProps, 'title' | 'unit' | 'queries' | 'stack' | 'area' | 'min' | 'max' | 'thresholds'>;

export function PanelChart({ panel, vars = {}, ...more }: More & { panel: Panel; vars?: Vars }) {
  const p = filledPanel(panel, vars);
  return (
    <Chart
      {...more}
      title={p.title}
      unit={unitNamed(p.unit)}
      stack={p.kind === 'stacked'}
      area={p.kind === 'area'}
      queries={p.queries.map(({ legend, ...q }) => ({
        ...q,
        name: (l) => (legend === undefined ? seriesName(l) : named(legend, l)),
      }))}
      {...(p.min !== undefined && { min: p.min })}
      {...(p.max !== undefined && { max: p.max })}
      {...(p.thresholds && { thresholds: p.thresholds })}
    />
  );
}
