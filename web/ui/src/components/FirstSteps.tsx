// What a first start looks like: a list that fills in by itself, in place of
// empty tables. It goes away once figures are there and somebody is told.
import { useState } from 'preact/hooks';
import { receivers } from '../api/clanmon';
import type { Discovery, Machine } from '../api/types/machines';
import { useData } from '../state/data';
import { recall, remember } from '../state/prefs';
import { Panel, Snippet } from './bits';
import { Icon } from './icons';

export function FirstSteps({ found, discovery, seen }: { found: Machine[]; discovery: Discovery | undefined; seen: boolean }) {
  const [gone, setGone] = useState(() => recall('firststeps.gone', false));
  const told = useData(gone ? null : 'receivers', receivers, 60);
  if (gone || !told.data) return null;
  const scraped = found.some((m) => m.targets?.some((t) => t.health === 'up'));
  const channel = told.data.some((r) => !/^log/.test(r.integration));
  if (scraped && seen && channel) return null;
  const methods = discovery?.methods ?? [];
  const broken = methods.filter((m) => m.error);
  const sources = [...new Set(found.flatMap((m) => m.sources ?? []))];
  const steps: [boolean, string, preact.ComponentChildren?][] = [
    [true, 'Storage is ready'],
    [broken.length === 0 && (methods.length > 0 || sources.length > 0), sources.length || methods.length ? `Machines are found by ${[...new Set([...sources, ...methods.map((m) => m.method)])].join(', ')}${broken.length ? `; ${broken.map((b) => `${b.method}: ${b.error}`).join('; ')}` : ''}` : 'Nothing looks for machines yet', !methods.length && !sources.some((s) => s !== 'local') ? <Snippet text="clanmon server --discovery tailscale" /> : undefined],
    [found.length > 0, found.length ? `${found.length} machine${found.length === 1 ? '' : 's'} found` : 'No machine found yet'],
    [scraped && seen, scraped ? (seen ? 'First figures are here' : 'The first scrape is done; rates need a second one') : 'The first scrape is on its way'],
    [channel, channel ? 'Alerts reach somebody' : 'Alerts are only shown here: nobody is told', channel ? undefined : <Snippet text={'clanmon server --notify "ntfy://ntfy.sh/TOPIC"'} />],
  ];
  return (
    <Panel title="First steps" tools={<button type="button" class="btn plain" onClick={() => { remember('firststeps.gone', true); setGone(true); }}>Hide</button>}>
      <ol class="steps body">
        {steps.map(([done, text, more]) => (
          <li key={text}>
            <span class={`status ${done ? 'ok' : 'off'}`}><Icon name={done ? 'ok' : 'wait'} /><span class="sr">{done ? 'Done:' : 'To do:'}</span></span>
            <span class="grow">{text}{more}</span>
          </li>
        ))}
      </ol>
    </Panel>
  );
}
