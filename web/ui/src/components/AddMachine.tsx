// "Add a machine": what to run on it, how the server finds it, and a tick once it
// is seen.
import { useState } from 'preact/hooks';
import type { Discovery } from '../api/types/machines';
import type { FleetRow } from '../lib/fleet';
import { listed, ways } from '../lib/install';
import { useImpatience } from '../state/fleet';
import { href, machinePath } from '../state/location';
import { recall, remember } from '../state/prefs';
import { Overlay, Snippet } from './bits';
import { Icon } from './icons';

const all = ways();

export default function AddMachine({
  rows,
  discovery,
  onClose,
}: {
  rows: FleetRow[];
  discovery: Discovery | undefined;
  onClose: () => void;
}) {
  const [before] = useState(() => new Set(rows.map((r) => r.name)));
  const [silentBefore] = useState(() => new Set(discovery?.waiting?.map((w) => w.address)));
  const [name, setName] = useState(() => recall('install', all[0]!.name));
  useImpatience(true);
  const way = all.find((w) => w.name === name) ?? all[0]!;
  const finding = [
    ...new Set(discovery?.methods.map((m) => m.method).filter((m) => m !== 'local' && m !== 'static')),
  ].join(', ');
  const found = rows.filter((r) => !before.has(r.name));
  const silent = (discovery?.waiting ?? []).filter((w) => !silentBefore.has(w.address));
  return (
    <Overlay kind="dialog" title="Add a machine" onClose={onClose}>
      <h3>Install the exporter on it</h3>
      <div class="row">
        {all.map((w) => (
          <button
            type="button"
            class="btn"
            key={w.name}
            aria-pressed={w === way}
            onClick={() => {
              setName(w.name);
              remember('install', w.name);
            }}
          >
            {w.name}
          </button>
        ))}
      </div>
      <Snippet text={way.text} />
      <h3>Tell this server where it is</h3>
      {finding ? <p>Found by {finding}, within a minute.</p> : <Snippet text={listed()} />}
      <h3>Wait for its first scrape</h3>
      <ol class="steps" aria-live="polite">
        {found.map((r) => (
          <li key={r.name}>
            <span class={`status ${r.up ? 'ok' : 'off'}`}>
              <Icon name={r.up ? 'ok' : 'wait'} />
            </span>
            <span class="grow intext">
              <a href={href(machinePath(r.name))}>{r.name}</a> {r.up ? 'is reporting' : 'is found but not reporting'}
            </span>
          </li>
        ))}
        {silent.map((w) => (
          <li key={w.address}>
            <span class="status warn">
              <Icon name="wait" />
            </span>
            <span class="grow">
              {w.machine} is found but not reporting: {w.error ?? w.reason}
            </span>
          </li>
        ))}
        {!found.length && !silent.length && (
          <li>
            <span class="status off">
              <Icon name="wait" />
            </span>
            <span class="grow dim">No new machine yet</span>
          </li>
        )}
      </ol>
    </Overlay>
  );
}
