// Icons, drawn on a grid of 16. Decorative: the word beside them says it.
const paths: Record<string, string> = {
  ok: 'M3 8.5l3.2 3.2L13 4.8',
  warn: 'M8 2.2l6.3 11.2H1.7zM8 6.4v3.4M8 11.7v.1',
  crit: 'M5.2 1.8h5.6l3.4 3.4v5.6l-3.4 3.4H5.2l-3.4-3.4V5.2zM5.6 5.6l4.8 4.8M10.4 5.6l-4.8 4.8',
  down: 'M5.2 1.8h5.6l3.4 3.4v5.6l-3.4 3.4H5.2l-3.4-3.4V5.2zM8 4.4v5M5.8 7.4L8 9.8l2.2-2.4M5.6 11.8h4.8',
  info: 'M8 14.2A6.2 6.2 0 108 1.8a6.2 6.2 0 000 12.4zM8 7.2v4M8 4.7v.1',
  off: 'M8 14.2A6.2 6.2 0 108 1.8a6.2 6.2 0 000 12.4zM5 8h6',
  wait: 'M8 14.2A6.2 6.2 0 108 1.8a6.2 6.2 0 000 12.4zM8 4.4V8l2.4 1.6',
  search: 'M7 12A5 5 0 107 2a5 5 0 000 10zM10.8 10.8L14 14',
  sun: 'M8 11a3 3 0 100-6 3 3 0 000 6zM8 1v1.6M8 13.4V15M1 8h1.6M13.4 8H15M3 3l1.2 1.2M11.8 11.8L13 13M13 3l-1.2 1.2M4.2 11.8L3 13',
  moon: 'M13.4 9.6A5.8 5.8 0 016.4 2.6 5.8 5.8 0 1013.4 9.6z',
  refresh: 'M13.5 8a5.5 5.5 0 11-1.7-4M13.6 1.6v3h-3',
  clock: 'M8 14.2A6.2 6.2 0 108 1.8a6.2 6.2 0 000 12.4zM8 4.4V8l2.4 1.6',
  disk: 'M2.5 3.5h11v9h-11zM2.5 9h11M11 10.8h.1',
  pulse: 'M1.8 8h3l2-4.5 2.6 9L11.4 8h2.8',
  save: 'M8 2v7M5 6.5l3 3 3-3M3 13h10',
  down_: 'M4 6l4 4 4-4',
  up: 'M4 10l4-4 4 4',
  left: 'M10 3.5L5.5 8l4.5 4.5',
  right: 'M6 3.5L10.5 8 6 12.5',
  close: 'M3.5 3.5l9 9M12.5 3.5l-9 9',
  copy: 'M5.5 5.5V2.8h7.7v7.7h-2.7M2.8 5.5h7.7v7.7H2.8z',
  link: 'M6.6 9.4a2.6 2.6 0 003.7 0l2.3-2.3a2.6 2.6 0 00-3.7-3.7l-.8.8M9.4 6.6a2.6 2.6 0 00-3.7 0L3.4 8.9a2.6 2.6 0 003.7 3.7l.8-.8',
  more: 'M3.2 8h.1M8 8h.1M12.8 8h.1',
  person: 'M8 8a2.8 2.8 0 100-5.6A2.8 2.8 0 008 8zM2.8 14c.4-2.8 2.4-4 5.2-4s4.8 1.2 5.2 4',
  fleet: 'M2 3h12v4H2zM2 9h12v4H2zM4.4 5h.1M4.4 11h.1',
  services:
    'M8 10.2A2.2 2.2 0 108 5.8a2.2 2.2 0 000 4.4zM8 1.6v2M8 12.4v2M1.6 8h2M12.4 8h2M3.5 3.5l1.4 1.4M11.1 11.1l1.4 1.4M12.5 3.5l-1.4 1.4M4.9 11.1l-1.4 1.4',
  alerts: 'M8 2a4 4 0 00-4 4c0 4-1.6 5.2-1.6 5.2h11.2S12 10 12 6a4 4 0 00-4-4zM6.6 13.4a1.5 1.5 0 002.8 0',
  chart: 'M2 13.5h12M3 10l3-4 3 2.5 4-6',
  silence: 'M4 6a4 4 0 016.5-3.1M12 6c0 4 1.6 5.2 1.6 5.2H5M2 2l12 12M6.6 13.4a1.5 1.5 0 002.8 0',
  filter: 'M2 3h12L9.4 8.4V13l-2.8-1.4V8.4z',
  columns: 'M2 3h12v10H2zM6 3v10M10 3v10',
  move: 'M8 1.8v12.4M1.8 8h12.4M6 3.8l2-2 2 2M6 12.2l2 2 2-2M3.8 6l-2 2 2 2M12.2 6l2 2-2 2',
  board: 'M2 2.5h5v6H2zM9 2.5h5v3.5H9zM9 8h5v5.5H9zM2 10.5h5v3H2z',
  pin: 'M5.5 2h5l-.6 4.6 2.1 2.4H4l2.1-2.4zM8 9v5',
  plus: 'M8 3v10M3 8h10',
  expand: 'M9.5 2.5h4v4M6.5 13.5h-4v-4M13.5 2.5l-5 5M2.5 13.5l5-5',
  play: 'M4.5 2.8v10.4L13 8z',
  edit: 'M2.5 13.5l.7-3L10.6 3l2.4 2.4-7.4 7.4z',
  zoomout: 'M7 12A5 5 0 107 2a5 5 0 000 10zM10.8 10.8L14 14M5 7h4',
  list: 'M5.5 4h8M5.5 8h8M5.5 12h8M2.5 4h.1M2.5 8h.1M2.5 12h.1',
};

export function Icon({ name }: { name: keyof typeof paths | string }) {
  return (
    <svg
      viewBox="0 0 16 16"
      width="16"
      height="16"
      fill="none"
      stroke="currentColor"
      stroke-width="1.5"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
    >
      <path d={paths[name] ?? ''} />
    </svg>
  );
}

export function Logo() {
  return (
    <svg viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="7" fill="#0f766e" />
      <path
        d="M5 18h5l3-9 5 15 3-9h6"
        fill="none"
        stroke="#fff"
        stroke-width="2.6"
        stroke-linecap="round"
        stroke-linejoin="round"
      />
    </svg>
  );
}
