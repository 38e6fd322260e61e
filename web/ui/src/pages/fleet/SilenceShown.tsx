// One silence for all machines that the filter shows.
import { useEffect, useState } from 'preact/hooks';
import { Overlay } from '../../components/bits';
import { Icon } from '../../components/icons';
import { ChangeButton } from '../../components/Who';
import { openedOn } from '../../lib/bulk';
import type { FleetRow } from '../../lib/fleet';
import { param, setParams } from '../../state/location';

const count = (n: number) => (n === 1 ? '1 machine' : `${n} machines`);

// Only with a filter, so that nobody silences the whole fleet by accident.
export function SilenceButton({ rows, elsewhere }: { rows: FleetRow[]; elsewhere: number }) {
  if (!rows.length || !(param('q') || param('tag') || param('show'))) return null;
  return (
    <ChangeButton
      type="button"
      class="btn"
      title={
        elsewhere
          ? `Silence the machines here that the filter shows. ${elsewhere} elsewhere can only be silenced on the servers that watch them.`
          : 'Silence all machines that the filter shows'
      }
      onClick={() => setParams({ silence: 'shown' }, false)}
    >
      <Icon name="silence" />
      Silence {count(rows.length)}
    </ChangeButton>
  );
}

// The form is about what was shown when it was opened. Rows change and recover under it.
export function SilenceShown({ rows }: { rows: FleetRow[] }) {
  const [form, setForm] = useState<typeof import('../../components/alerts/SilenceForm')>();
  useEffect(() => void import('../../components/alerts/SilenceForm').then(setForm), []);
  const [opened] = useState(() => openedOn(rows, { q: param('q'), tag: param('tag'), show: param('show') }));
  const [sure, setSure] = useState(opened.filtered);
  const close = () => setParams({ silence: null }, false);
  const { matchers, without, error } = opened.bulk;
  if (!opened.count)
    return (
      <Overlay kind="dialog" title="No machines to silence" onClose={close}>
        <p>{opened.filtered ? 'No machine matches the filter.' : 'The fleet has no machines yet.'}</p>
      </Overlay>
    );
  if (error)
    return (
      <Overlay kind="dialog" title="These machines cannot be silenced at once" onClose={close}>
        <p>{error}</p>
      </Overlay>
    );
  if (!sure)
    return (
      <Overlay kind="dialog" title={`Silence all ${count(opened.count)}?`} onClose={close}>
        <p>No filter is set. The silence would cover every machine of the fleet.</p>
        <div class="row">
          <ChangeButton type="button" class="btn primary" onClick={() => setSure(true)}>
            Silence all {count(opened.count)}
          </ChangeButton>
          <button type="button" class="btn" onClick={close}>
            Cancel
          </button>
        </div>
      </Overlay>
    );
  if (!form) return null;
  return (
    <form.SilenceForm
      title={`Silence ${count(opened.count - without)}`}
      matchers={matchers}
      {...(without > 0 && {
        note: `${count(without)} without the label “machine” ${without === 1 ? 'is' : 'are'} not covered.`,
      })}
      onClose={close}
    />
  );
}
