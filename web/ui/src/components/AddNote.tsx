// The dialog that adds a note to the changes.
import { useState } from 'preact/hooks';
import type { ApiError } from '../api/client';
import { addNote } from '../api/events';
import { dateTime, parseDateTime } from '../lib/time';
import { refresh, serverNow } from '../state/clock';
import { useFleet } from '../state/fleet';
import { isUTC, recall, remember } from '../state/prefs';
import { toast } from '../state/toast';
import { who } from '../state/who';
import { FieldError, Overlay } from './bits';
import { ChangeButton, NoChanges } from './Who';

// at is when it happened, if that is not now.
export function AddNote({ machine = '', at, onClose }: { machine?: string; at?: number; onClose: () => void }) {
  const utc = isUTC();
  const [text, setText] = useState('');
  const [machines, setMachines] = useState(machine);
  const [time, setTime] = useState(at === undefined ? 'now' : dateTime(at, utc));
  const known = who.value?.name; // whom the server makes the author
  const [author, setAuthor] = useState(known ?? recall('silence.author', ''));
  const [wrong, setWrong] = useState('');
  const [busy, setBusy] = useState(false);
  const { rows: fleet } = useFleet();
  const names = machines.split(/[\s,]+/).filter(Boolean);
  const unknown = fleet ? names.filter((n) => !fleet.some((m) => m.name === n)) : [];
  const save = async (e: Event) => {
    e.preventDefault();
    const when = time.trim() === '' || time.trim() === 'now' ? undefined : parseDateTime(time, utc);
    if (!text.trim()) return setWrong('Say what happened');
    if (when === undefined && !/^(now)?$/.test(time.trim()))
      return setWrong('Enter “now” or a time such as 2026-11-25 03:10');
    if (when !== undefined && when > serverNow() + 3600) return setWrong('The time is in the future');
    setBusy(true);
    try {
      await addNote({
        text,
        ...(names.length && { machines: names }),
        ...(when !== undefined && { time: when }),
        ...(author.trim() && { by: author.trim() }),
      });
      if (!known) remember('silence.author', author.trim());
      toast('Note added');
      refresh();
      onClose();
    } catch (x) {
      setWrong((x as ApiError).message);
      setBusy(false);
    }
  };
  return (
    <Overlay kind="dialog" title="Add a note" onClose={onClose}>
      <form class="stack" onSubmit={save} noValidate>
        <label class="line">
          What happened
          <textarea
            class="field"
            rows={3}
            data-autofocus
            value={text}
            placeholder="Replaced the disk in slot 3"
            onInput={(e) => {
              setText(e.currentTarget.value);
              setWrong('');
            }}
          />
        </label>
        <label class="line">
          Machines
          <input
            class="field"
            list="note-machines"
            value={machines}
            placeholder="none in particular"
            onInput={(e) => setMachines(e.currentTarget.value)}
          />
        </label>
        <datalist id="note-machines">
          {names.length < 2 && fleet?.slice(0, 500).map((m) => <option key={m.name} value={m.name} />)}
        </datalist>
        {unknown.length > 0 && <p class="dim">Not a known machine: {unknown.join(', ')}</p>}
        <label class="line">
          Time{utc ? ', UTC' : ''}
          <input
            class="field"
            value={time}
            onInput={(e) => {
              setTime(e.currentTarget.value);
              setWrong('');
            }}
          />
        </label>
        <label class="line">
          Author
          <input
            class="field"
            value={author}
            readOnly={!!known}
            placeholder="Your name"
            autocomplete="username"
            onInput={(e) => setAuthor(e.currentTarget.value)}
          />
        </label>
        <FieldError text={wrong} />
        <NoChanges />
        <div class="row end">
          <button type="button" class="btn" onClick={onClose}>
            Cancel
          </button>
          <ChangeButton class="btn primary" disabled={busy}>
            Add note
          </ChangeButton>
        </div>
      </form>
    </Overlay>
  );
}
