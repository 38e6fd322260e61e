// Not reporting: what discovery found and nothing there has responded with metrics.
import type { Discovery, Waiting } from '../api/types/machines';
import { href } from '../state/location';
import { Overlay, Snippet } from './bits';
import { Status } from './Status';
import { NOT_TRIED, sourceWord } from '../lib/words';

// What a reason of server/fleet/gate.go means, and what to do about it.
const HINT: Record<string, string> = {
  refused: 'Connection refused: start an exporter there.',
  timeout: 'No response: it is off, or a firewall or the tailnet’s access rules block it.',
  'no route': 'No route from this server to it.',
  'name not found': 'Its name does not resolve.',
  'no metrics': 'It responds, but not with metrics.',
};

const MOST_SILENT = 60;

export function NotReporting({ d, onClose }: { d: Discovery; onClose: () => void }) {
  const by = new Map<string, Waiting[]>();
  for (const w of d.waiting ?? []) by.set(w.machine, [...(by.get(w.machine) ?? []), w]);
  const machines = [...by].sort(([a], [b]) => names.compare(a, b));
  const reasons = new Map<string, string[]>();
  for (const l of d.leftOut ?? []) reasons.set(l.reason, [...(reasons.get(l.reason) ?? []), l.device]);
  return (
    <Overlay kind="sheet" title="Not reporting" onClose={onClose}>
      <p class="dim">
        Discovered, but no exporter has responded there yet. These devices raise no alerts. On a machine that should
        report, run:
      </p>
      <Snippet text="clanmon exporter" />
      {machines.slice(0, MOST_SILENT).map(([machine, list]) => (
        <section class="panel" key={machine}>
          <div class="body stack silent">
            <div class="row">
              <b class="grow">{machine}</b>
              <span class="dim">found by {[...new Set(list.map((w) => sourceWord(w.method)))].join(', ')}</span>
            </div>
            {list.map((w) => (
              <div key={w.instance + w.job}>
                <div class="row">
                  <span class="chip">{w.job}</span>
                  <Status level="off" icon="wait">
                    {w.reason || NOT_TRIED}
                  </Status>
                  {w.attempts > 0 && (
                    <span class="dim">
                      tried {w.attempts} {w.attempts === 1 ? 'time' : 'times'}
                    </span>
                  )}
                </div>
                {w.error && (
                  <p class="dim wrap" title={w.error}>
                    {HINT[w.reason] ?? w.error}
                  </p>
                )}
                <Snippet text={`curl -sS http://${w.address}/metrics | head`} />
              </div>
            ))}
          </div>
        </section>
      ))}
      {machines.length > MOST_SILENT && (
        <p>
          and {machines.length - MOST_SILENT} more, in <a href={href('/service-discovery')}>discovery</a>
        </p>
      )}
      {reasons.size > 0 && (
        <details>
          <summary>{d.leftOut!.length} left out on purpose</summary>
          {[...reasons].map(([reason, devices]) => (
            <p key={reason} class="wrap">
              <b>{reason}</b>:{' '}
              <span class="dim">
                {devices.slice(0, 20).join(', ')}
                {devices.length > 20 && ` and ${devices.length - 20} more`}
              </span>
            </p>
          ))}
        </details>
      )}
    </Overlay>
  );
}

const names = new Intl.Collator('en', { numeric: true });
