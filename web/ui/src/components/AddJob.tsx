// How to have a job on the page: nothing for systemd units, a command or a request for
// the rest.
import { useState } from 'preact/hooks';
import { jobSnippets, newToken } from '../lib/jobs';
import { prefix } from '../state/config';
import { Overlay, Snippet } from './bits';

export function AddJob({ onClose }: { onClose: () => void }) {
  const [name, setName] = useState('');
  const [token] = useState(newToken);
  const s = jobSnippets(name, window.location.origin + prefix, token);
  return (
    <Overlay kind="dialog" title="Add a job" onClose={onClose}>
      <div class="stack">
        <p>
          Timers and oneshot services of systemd appear by themselves, and backups among them are known by the names of
          their units. Other jobs report with a ping.
        </p>
        <label class="stack">
          Name
          <input
            class="field"
            data-autofocus
            placeholder="photos"
            value={name}
            onInput={(e) => setName(e.currentTarget.value.replace(/[^\w.-]/g, ''))}
          />
        </label>
        <p>Add it to the file of --ping.file and reload the server. The token was made in this browser:</p>
        <Snippet text={s.file} />
        <p>Or in NixOS, in the options of the server, with the token in a file:</p>
        <Snippet text={s.nix} />
        <p>Then run the command with clanmon, which reports start, duration and exit code:</p>
        <Snippet text={s.command} />
        <p>Or send the exit code with curl, or with any client of healthchecks.io:</p>
        <Snippet text={s.curl} />
      </div>
    </Overlay>
  );
}
