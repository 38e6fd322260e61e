// What the server has to say about the whole fleet: discovery that fails,
// machines that no rule sees. Red and amber lines stay; others can be put away.
import { useState } from 'preact/hooks';
import type { Notice } from '../api/types/machines';
import { match } from '../routes';
import { prefix } from '../state/config';
import { recall, remember } from '../state/prefs';
import { Snippet } from './bits';
import { Icon } from './icons';

const LOOK = { critical: 'crit', warning: 'warn', info: 'info' } as const;
const ORDER = ['critical', 'warning', 'info'];

export function Notices({ list }: { list: Notice[] }) {
  const [gone, setGone] = useState<string[]>(() => recall('notices.gone', []));
  const key = (n: Notice) => `${n.kind} ${n.text}`;
  const shown = list
    .filter((n) => n.level !== 'info' || !gone.includes(key(n)))
    .sort((a, b) => ORDER.indexOf(a.level) - ORDER.indexOf(b.level));
  return (
    <>
      {shown.map((n) => {
        const look = LOOK[n.level] ?? 'info';
        const lines = n.detail?.includes('\n');
        return (
          <div key={key(n)} class={`note stack ${look}`} role={look === 'info' ? 'status' : 'alert'}>
            <div class="row nowraprow">
              <span class={`status ${look}`}>
                <Icon name={look} />
              </span>
              <span class="grow">
                {n.text}
                {n.detail && !lines && (
                  <>
                    {/[.:!?]$/.test(n.text) ? ' ' : ': '}
                    {n.detail.startsWith('--') ? <code>{n.detail}</code> : n.detail}
                  </>
                )}
              </span>
              {n.link && (
                <a class="btn" href={prefix + n.link}>
                  {match(n.link.split('?')[0]!)?.route.title ?? 'Show'}
                </a>
              )}
              {n.level === 'info' && (
                <button
                  type="button"
                  class="btn plain"
                  onClick={() => {
                    const next = [...gone, key(n)].slice(-50);
                    remember('notices.gone', next);
                    setGone(next);
                  }}
                >
                  Hide
                </button>
              )}
            </div>
            {lines && <Snippet text={n.detail!} />}
          </div>
        );
      })}
    </>
  );
}
