// Small pieces that most pages use.
import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { told, type ApiError } from '../api/client';
import { ago } from '../lib/format';
import { dateTime } from '../lib/time';
import { staleSince } from '../lib/words';
import { second } from '../state/clock';
import { isUTC } from '../state/prefs';
import { copy } from '../state/toast';
import { Icon } from './icons';
import { Status } from './Status';

export function Panel({
  title,
  level = 2,
  tools,
  children,
  label,
}: {
  title?: ComponentChildren;
  level?: 2 | 3;
  tools?: ComponentChildren;
  children: ComponentChildren;
  label?: string;
}) {
  const H = `h${level}` as 'h2';
  return (
    <section class="panel" aria-label={label}>
      {(title || tools) && (
        <header>
          {title && <H>{title}</H>}
          {tools}
        </header>
      )}
      {children}
    </section>
  );
}

// Empty says what is not there, why, and what to do about it.
export function Empty({
  icon = 'info',
  title,
  why,
  children,
}: {
  icon?: string;
  title: ComponentChildren;
  why?: ComponentChildren | undefined;
  children?: ComponentChildren;
}) {
  return (
    <div class="empty">
      <Icon name={icon} />
      <strong>{title}</strong>
      {why && <p class="why">{why}</p>}
      {children}
    </div>
  );
}

// stale is what an ErrorNote says where what arrived at time is still shown.
export const stale = (time: number): string => staleSince(time, second.value, isUTC());

// ErrorNote says what failed; of a server that is away the banner tells, once.
export function ErrorNote({ error, what }: { error: ApiError | Error | undefined; what?: string }) {
  if (!error || told(error)) return null;
  return (
    <p class="note crit" role="alert">
      {what && <b>{what}: </b>}
      {error.message}
    </p>
  );
}

export function Loading({ lines = 3 }: { lines?: number }) {
  return (
    <div class="panel body stack" role="status" aria-label="Loading" style={{ padding: '16px' }}>
      {Array.from({ length: lines }, (_, i) => (
        <div key={i} class="skeleton" style={{ width: `${90 - i * 17}%` }} />
      ))}
    </div>
  );
}

// Ago is an age that grows while one looks at it; the tooltip has the time.
export function Ago({ time, suffix = '' }: { time: number | undefined; suffix?: string }) {
  if (!time) return <span class="dim">–</span>;
  const age = second.value - time;
  return (
    <time dateTime={new Date(time * 1000).toISOString()} title={dateTime(time, isUTC(), true)}>
      {suffix && age < 5 ? 'just now' : `${ago(age)}${suffix}`}
    </time>
  );
}

export function Time({ time, withSeconds = false }: { time: number | undefined; withSeconds?: boolean }) {
  if (!time) return <span class="dim">–</span>;
  return (
    <time class="nowrap" dateTime={new Date(time * 1000).toISOString()}>
      {dateTime(time, isUTC(), withSeconds)}
    </time>
  );
}

// LastAnswer says how old a page is that should be of now: also where it does
// not ask because the range ends at a fixed time.
export function LastAnswer({ time }: { time: number }) {
  if (!time || second.value - time < 120) return null;
  return (
    <Status level="warn" badge>
      updated <Ago time={time} suffix=" ago" />
    </Status>
  );
}

// Snippet is text to copy, such as a command.
export function Snippet({ text }: { text: string }) {
  return (
    <div class="snippet">
      <pre>{text}</pre>
      <button class="btn" onClick={() => void copy(text)} aria-label="Copy" title="Copy">
        <Icon name="copy" />
      </button>
    </div>
  );
}

// Menu is a button that opens a list. The arrow keys go through it; Escape, a click
// elsewhere and leaving it with Tab close it.
export function Menu({
  label,
  icon,
  children,
  title,
  class: extra = '',
}: {
  label?: ComponentChildren;
  icon?: string;
  children: (close: () => void) => ComponentChildren;
  title?: string;
  class?: string;
}) {
  const [open, setOpen] = useState(false);
  const [right, setRight] = useState(false);
  const ref = useRef<HTMLSpanElement>(null);
  const menu = useRef<HTMLDivElement>(null);
  // On a phone a menu may be wider than the room on its side.
  useLayoutEffect(() => {
    if (!open) return;
    const { left, right } = menu.current!.getBoundingClientRect();
    const over = right - document.documentElement.clientWidth + 8;
    const by = over > 0 ? -Math.min(over, left - 8) : left < 8 ? 8 - left : 0;
    if (by) menu.current!.style.translate = `${by}px`;
  }, [open]);
  // At once: somebody may press the next key before the next frame.
  useLayoutEffect(() => {
    if (!open) return;
    const away = (e: Event) => {
      if (!ref.current?.contains(e.target as Node)) setOpen(false);
    };
    const esc = (e: KeyboardEvent) => {
      if (e.key !== 'Escape') return;
      e.stopPropagation();
      setOpen(false);
      ref.current?.querySelector('button')?.focus();
    };
    const arrows = (e: KeyboardEvent) => {
      const by = e.key === 'ArrowDown' ? 1 : e.key === 'ArrowUp' ? -1 : 0;
      const box = ref.current;
      if (
        !by ||
        !box?.contains(document.activeElement) ||
        (document.activeElement as Element).matches('input,select,textarea')
      )
        return;
      const all = [...box.querySelectorAll<HTMLElement>('.menu :is(button, a[href])')];
      const at = all.indexOf(document.activeElement as HTMLElement);
      e.preventDefault();
      all[at < 0 ? (by > 0 ? 0 : all.length - 1) : (at + by + all.length) % all.length]?.focus();
    };
    document.addEventListener('pointerdown', away);
    document.addEventListener('keydown', esc, true);
    document.addEventListener('keydown', arrows);
    document.addEventListener('focusin', away);
    return () => {
      document.removeEventListener('keydown', arrows);
      document.removeEventListener('focusin', away);
      document.removeEventListener('pointerdown', away);
      document.removeEventListener('keydown', esc, true);
    };
  }, [open]);
  const toggle = () => {
    const box = ref.current?.getBoundingClientRect();
    setRight(!!box && box.left > window.innerWidth / 2);
    setOpen(!open);
  };
  return (
    <span class="menuwrap" ref={ref}>
      <button
        type="button"
        class={`btn ${label ? '' : 'icon'} ${extra}`}
        aria-expanded={open}
        aria-haspopup="true"
        title={title}
        aria-label={label ? undefined : title}
        onClick={toggle}
      >
        {icon && <Icon name={icon} />}
        {label && <span class="label">{label}</span>}
        {label && <Icon name="down_" />}
      </button>
      {open && (
        <div class="menu" ref={menu} style={{ top: 'calc(100% + 4px)', ...(right ? { right: 0 } : { left: 0 }) }}>
          {children(() => setOpen(false))}
        </div>
      )}
    </span>
  );
}

// Overlay: a dialog in the middle or a sheet at the side. Focus goes in, stays
// in, and goes back.
export function Overlay({
  title,
  kind,
  wide,
  onClose,
  children,
  footer,
}: {
  title: ComponentChildren;
  kind: 'dialog' | 'sheet';
  wide?: boolean;
  onClose: () => void;
  children: ComponentChildren;
  footer?: ComponentChildren;
}) {
  const ref = useRef<HTMLDivElement>(null);
  const close = useRef(onClose);
  close.current = onClose;
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    const box = ref.current!;
    (box.querySelector<HTMLElement>('[autofocus],[data-autofocus]') ?? box).focus();
    const key = (e: KeyboardEvent) => {
      // Of dialogs over dialogs the last one is meant. The focus may have left it,
      // with a button that was in it and is gone.
      const open = [...document.querySelectorAll('[role="dialog"]')];
      if (e.defaultPrevented || open.at(-1) !== box) return;
      if (e.key === 'Escape') {
        e.preventDefault();
        close.current();
        return;
      }
      if (e.key !== 'Tab') return;
      if (!box.contains(document.activeElement)) {
        e.preventDefault();
        box.focus();
        return;
      }
      const all = [
        ...box.querySelectorAll<HTMLElement>('a[href],button:not([disabled]),input,select,textarea,[tabindex="0"]'),
      ].filter((x) => x.offsetParent !== null);
      const first = all[0];
      const last = all[all.length - 1];
      if (!first || !last) return;
      if (e.shiftKey && (document.activeElement === first || document.activeElement === box)) {
        e.preventDefault();
        last.focus();
      } else if (!e.shiftKey && document.activeElement === last) {
        e.preventDefault();
        first.focus();
      }
    };
    document.addEventListener('keydown', key);
    return () => {
      document.removeEventListener('keydown', key);
      before?.focus?.();
    };
  }, []);
  const inner = (
    <div
      class={`${kind}${wide ? ' wide' : ''}`}
      role="dialog"
      aria-modal="true"
      aria-label={typeof title === 'string' ? title : undefined}
      tabIndex={-1}
      ref={ref}
      onClick={(e) => e.stopPropagation()}
    >
      <header>
        <h2>{title}</h2>
        <button type="button" class="btn icon plain" aria-label="Close" title="Close (Esc)" onClick={onClose}>
          <Icon name="close" />
        </button>
      </header>
      <div class="body">{children}</div>
      {footer && <footer>{footer}</footer>}
    </div>
  );
  return (
    <div class={kind === 'dialog' ? 'scrim' : 'sheetscrim'} onClick={onClose}>
      {inner}
    </div>
  );
}

// Tags are links that filter by the tag.
export function LabelList({ labels, without = [] }: { labels: Record<string, string>; without?: string[] }) {
  return (
    <span class="row" style={{ gap: '4px' }}>
      {Object.entries(labels)
        .filter(([k]) => !without.includes(k))
        .map(([k, v]) => (
          <span class="chip mono" key={k}>
            <span class="wrap">
              {k}=<b>{v}</b>
            </span>
          </span>
        ))}
    </span>
  );
}

// outside are the attributes of a link that leads elsewhere.
export const outside = { target: '_blank', rel: 'noreferrer noopener' } as const;

// safeLink returns url if it is one that may be followed: http or https.
export function safeLink(url: string | undefined): string | undefined {
  if (!url) return undefined;
  try {
    const u = new URL(url, window.location.href);
    return u.protocol === 'http:' || u.protocol === 'https:' ? u.href : undefined;
  } catch {
    return undefined;
  }
}

// FieldError is what is wrong with a field, under it.
export function FieldError({ text }: { text: string | undefined }) {
  const ref = useRef<HTMLParagraphElement>(null);
  useEffect(() => {
    if (text) ref.current?.scrollIntoView({ block: 'nearest' });
  }, [text]);
  return text ? (
    <p class="status crit fielderror" role="alert" ref={ref}>
      <Icon name="crit" />
      <span>{text}</span>
    </p>
  ) : null;
}
