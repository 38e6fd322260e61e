// Who one is, and buttons that one may not always press.
import type { ComponentProps, Ref } from 'preact';
import type { Who as Answer } from '../api/who';
import { prefix } from '../state/config';
import { who } from '../state/who';
import { Menu } from './bits';
import { Icon } from './icons';

const VIA: Record<Answer['via'], string> = {
  none: '',
  tailscale: 'by Tailscale',
  proxy: 'by the reverse proxy',
  oidc: 'logged in',
  token: 'by a token',
  password: 'by password',
  certificate: 'by client certificate',
};

// The corner of the page. It is empty where nobody is known and nothing depends on it.
export function Who() {
  const w = who.value;
  if (!w || (!w.name && !w.configured)) return null;
  return (
    <Menu
      class="who"
      title={w.name ? `You are ${w.name}` : 'Not identified'}
      label={
        <>
          <Icon name="person" />
          <span class="whoname ellipsis">{w.name || 'Not identified'}</span>
        </>
      }
    >
      {() => (
        <>
          <p class="whoami">
            {w.name ? <b>{w.name}</b> : <b>Not identified</b>}
            {w.name && VIA[w.via] && <span>{VIA[w.via]}</span>}
            {w.device && <span>on {w.device}</span>}
            {w.configured && <span>Role: {w.role === 'anonymous' ? 'none' : w.role}</span>}
            {!w.name && w.unknown && <span class="dim">{w.unknown}</span>}
          </p>
          {w.login && (
            <a data-native href={`${prefix}${w.login}?return=${encodeURIComponent(here())}`}>
              Log in
            </a>
          )}
          {w.logout && (
            <button type="button" onClick={() => void logOut(prefix + w.logout)}>
              Log out
            </button>
          )}
        </>
      )}
    </Menu>
  );
}

const here = () => window.location.pathname.slice(prefix.length) + window.location.search;

async function logOut(path: string): Promise<void> {
  await fetch(path, { method: 'POST', credentials: 'same-origin', redirect: 'manual' });
  window.location.assign(path);
}

// A ref of such a button would be the component: buttonRef is of the button.
type ButtonProps = Omit<ComponentProps<'button'>, 'ref'> & { buttonRef?: Ref<HTMLButtonElement> };

// It is disabled, with the reason, for whom the server would refuse.
function Button({ why, disabled, title, buttonRef, ...rest }: ButtonProps & { why: string | undefined }) {
  return <button {...rest} ref={buttonRef} disabled={!!why || !!disabled} title={why ?? title} />;
}

// ChangeButton changes something on the server.
export const ChangeButton = (props: ButtonProps) => <Button {...props} why={who.value?.changesRefused} />;

// looksRefused is why one may not look into machines. Where no identity is configured the
// server says what to do.
export function looksRefused(): string | undefined {
  const w = who.value;
  if (!w?.configured || w.role === 'operator') return undefined;
  return `looking at machines is for operators, and ${w.name || 'you'} ${w.name ? `has the role ${w.role}` : 'are not identified'}`;
}

// LookButton looks into a machine.
export const LookButton = (props: ButtonProps) => <Button {...props} why={looksRefused()} />;

const Reason = ({ why }: { why: string | undefined }) =>
  why ? <p class="note warn">{why[0]!.toUpperCase() + why.slice(1)}</p> : null;

// NoChanges says why in a form that could not be sent, NoLooks beside what cannot be opened.
export const NoChanges = () => <Reason why={who.value?.changesRefused} />;
export const NoLooks = () => <Reason why={looksRefused()} />;
