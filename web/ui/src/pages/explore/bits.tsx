// What the tabs of Explore have in common.
import type { ComponentChildren } from 'preact';
import { noticesOf, told, type ApiError } from '../../api/client';
import { Icon } from '../../components/icons';
import { errorPosition } from '../../lib/explore';
import { ago, format, seconds } from '../../lib/format';
import { frozen, second } from '../../state/clock';
import type { Run } from './useRun';

// QueryError shows what the server objects to, and where.
export function QueryError({ expr, error }: { expr: string; error: ApiError | undefined }) {
  if (!error || told(error)) return null; // of a server that is away the banner tells
  const place = errorPosition(expr, error.message);
  if (!place)
    return (
      <p class="note crit queryerror" role="alert">
        {error.message}
      </p>
    );
  const line = expr.split('\n')[place.line] ?? '';
  const column =
    place.from -
    expr
      .split('\n')
      .slice(0, place.line)
      .reduce((n, l) => n + l.length + 1, 0);
  const from = Math.max(0, column - 60); // of a long line, the part around it
  return (
    <div class="note crit queryerror" role="alert">
      <p>{place.text}</p>
      <pre aria-hidden="true">
        {from > 0 ? '…' : ''}
        {line.slice(from, column + 30)}
        {'\n'}
        {' '.repeat(column - from + (from > 0 ? 1 : 0))}
        <b>^</b>
      </pre>
      <p class="sr">
        In line {place.line + 1}, column {column + 1}
      </p>
    </div>
  );
}

export function Notices({ data }: { data: unknown }) {
  const { warnings, infos } = noticesOf(data);
  const unique = (all: string[]) => [...new Set(all)].filter((w) => w !== TRUNCATED);
  return (
    <>
      {unique(warnings).map((w) => (
        <p class="note warn" key={w}>
          <b>Warning: </b>
          {w}
        </p>
      ))}
      {unique(infos).map((w) => (
        <p class="note" key={w}>
          <b>Note: </b>
          {w}
        </p>
      ))}
    </>
  );
}

export const TRUNCATED = 'results truncated due to limit';

export interface Stats {
  timings?: { execTotalTime?: number };
  samples?: { totalQueryableSamples?: number; peakSamples?: number };
}
export const statsOf = (data: unknown): Stats | undefined => (data as { stats?: Stats } | undefined)?.stats;

// RunLine says how a query went, and stops it while it runs.
export function RunLine({
  run,
  what,
  children,
}: {
  run: Run<unknown>;
  what?: ComponentChildren;
  children?: ComponentChildren;
}) {
  if (!run.running && !run.cancelled && run.data === undefined && !children) return null;
  const stats = statsOf(run.data);
  const server = stats?.timings?.execTotalTime;
  const samples = stats?.samples?.totalQueryableSamples;
  return (
    <div class="runline">
      <span class="dim" role="status">
        {run.running ? (
          'Running…'
        ) : run.cancelled ? (
          'Cancelled'
        ) : run.data === undefined ? (
          ''
        ) : (
          <>
            {what}
            {samples !== undefined && (
              <>
                {' '}
                · {format(samples, 'count')} {samples === 1 ? 'sample' : 'samples'} read
              </>
            )}
            {' · '}
            <span title={server !== undefined ? `${seconds(server)} of it in the query engine` : undefined}>
              {seconds(run.seconds)}
            </span>
            <Age run={run} />
            {run.costly && ' · not refreshed automatically'}
          </>
        )}
      </span>
      {run.running && (
        <button type="button" class="btn" onClick={run.cancel}>
          <Icon name="close" />
          Cancel
        </button>
      )}
      {!run.running && (run.cancelled || run.costly) && (
        <button type="button" class="btn" onClick={run.again}>
          <Icon name="refresh" />
          Run again
        </button>
      )}
      <span class="grow" />
      {children}
    </div>
  );
}

// Age says how old an answer is that is not of now any more.
function Age({ run }: { run: Run<unknown> }) {
  const age = second.value - run.time;
  return frozen.value || age < 90 ? null : (
    <>
      {' '}
      · <b>from {ago(age)} ago</b>
    </>
  );
}
