// One silence for all machines that the filter shows.
import { useEffect, useState } from 'preact/hooks';
import { Overlay } from '../../components/bits';
import { Icon } from '../../components/icons';
import { ChangeButton } from '../../components/Who';
import { bulk } from '../../lib/bulk';
import type { FleetRow } from '../../lib/fleet';
import { param, setParams } from '../../state/location';

const count = (n: number) => (n === 1 ? '1 machine' : `${n} machines`);

// Without a filter there is none: nobody silences everything by the way.
export function SilenceButton({ rows }: { rows: FleetRow[] }) {
  if (!rows.length || !(param('q') || param('tag') || param('show'))) return null;
  return (
    <ChangeButton
      type="button"
      class="btn"
      title="Silence all machines that the filter shows"
      onClick={() => setParams({ silence: 'shown' }, false)}
    >
      <Icon name="silence" />
      Silence {count(rows.length)}
    </ChangeButton>
  );
}

// The form begins with the machines of the moment it is opened: what recovers meanwhile stays.
export function SilenceShown({ rows }: { rows: FleetRow[] }) {
  const [form, setForm] = useState<typeof import('../../components/alerts/SilenceForm')>();
  useEffect(() => void import('../../components/alerts/SilenceForm').then(setForm), []);
  const [b] = useState(() => bulk(rows, param('q') || param('show') ? '' : param('tag')));
  const close = () => setParams({ silence: null }, false);
  const title = `Silence ${count(rows.length - b.without)}`;
  if (b.error)
    return (
      <Overlay kind="dialog" title="These machines cannot be silenced at once" onClose={close}>
        <p>{b.error}</p>
      </Overlay>
    );
  if (!form) return null;
  return (
    <form.SilenceForm
      title={title}
      matchers={b.matchers}
      {...(b.without > 0 && {
        note: `${count(b.without)} without the label “machine” ${b.without === 1 ? 'is' : 'are'} not covered.`,
      })}
      onClose={close}
    />
  );
}
