// The tools that all pages share: search, tag, range, refresh, time zone, theme.
import { useEffect, useState } from 'preact/hooks';
import { PASTS } from '../lib/chart';
import { RANGES, date, dateTime, parseDateTime, parseDuration, zoneOf } from '../lib/time';
import { frozen, range, refresh, setAbsolute, setRelative, shift, tick, zoomOut } from '../state/clock';
import { href, hereWith, location, param, setParams } from '../state/location';
import { compact, phone } from '../state/media';
import { INTERVALS, interval, isUTC, theme, zone, nextTheme } from '../state/prefs';
import { BOTTOM, listed } from '../routes';
import { agent } from '../state/config';
import { paletteOpen } from './Palette';
import { copy } from '../state/toast';
import { Menu } from './bits';
import { Icon } from './icons';
import { PairMenu } from './Pair';
import { Who } from './Who';

export function Toolbar() {
  const r = range.value;
  return (
    <div class="tools">
      <button type="button" class="btn opt" onClick={() => (paletteOpen.value = true)} title="Search (Ctrl K)">
        <Icon name="search" />
        <span class="dim">Search</span>
        <span class="kbd">Ctrl K</span>
      </button>
      {location.value.params.get('tag') && (
        <button type="button" class="chip on" title="Show all tags" onClick={() => setParams({ tag: null }, false)}>
          {location.value.params.get('tag')} <Icon name="close" />
        </button>
      )}
      <span class="rangepick menuwrap">
        <RangeMenu />
      </span>
      <span class="group refresh">
        <button
          type="button"
          class="btn icon"
          onClick={refresh}
          title={frozen.value ? 'The range ends at a fixed time (r refreshes)' : 'Refresh (r)'}
          aria-label="Refresh"
        >
          <Icon name="refresh" />
        </button>
        <Menu class="opt" label={frozen.value ? 'paused' : interval.value} title="Refresh interval">
          {(close) =>
            INTERVALS.map((i) => (
              <button
                type="button"
                key={i}
                aria-selected={interval.value === i}
                onClick={() => {
                  interval.value = i;
                  close();
                }}
              >
                {i === 'off' ? 'Off' : `Every ${i}`}
              </button>
            ))
          }
        </Menu>
      </span>
      <PairMenu />
      <Who />
      <Menu icon="more" title="View">
        {(close) => (
          <>
            {phone.value && (
              <button
                type="button"
                onClick={() => {
                  close();
                  refresh();
                }}
              >
                <Icon name="refresh" />
                Refresh
              </button>
            )}
            <button
              type="button"
              onClick={() => {
                nextTheme();
              }}
            >
              <Icon name={theme.value === 'dark' ? 'moon' : 'sun'} />
              Theme: {theme.value}
            </button>
            <button type="button" onClick={() => (zone.value = zone.value === 'utc' ? 'local' : 'utc')}>
              <Icon name="clock" />
              Times: {zone.value === 'utc' ? 'UTC' : 'local'}
            </button>
            <hr />
            <button
              type="button"
              onClick={() => {
                close();
                void copy(window.location.href, 'Link copied');
              }}
            >
              <Icon name="link" />
              Copy link{r.relative ? `, last ${r.relative}` : ''}
            </button>
            {r.relative && (
              <button
                type="button"
                onClick={() => {
                  close();
                  void copy(
                    window.location.origin + hereWith({ range: null, from: Math.round(r.from), to: Math.round(r.to) }),
                    'Link with fixed time copied',
                  );
                }}
              >
                <Icon name="link" />
                Copy link (fixed time)
              </button>
            )}
            {compact.value && (
              <>
                <hr />
                <nav class="menupages" aria-label="More pages">
                  {listed(agent)
                    .filter((r) => !BOTTOM.includes(r.path))
                    .map((r) => (
                      <a key={r.path} href={href(r.path)} onClick={close}>
                        <Icon name={r.icon ?? 'list'} />
                        {r.title}
                      </a>
                    ))}
                </nav>
              </>
            )}
          </>
        )}
      </Menu>
      <span class="sr" aria-live="off">
        {tick.value}
      </span>
    </div>
  );
}

function RangeMenu() {
  const r = range.value;
  const utc = isUTC();
  const label = r.relative
    ? `Last ${r.relative}`
    : `${dateTime(r.from, utc)}${zoneOf(r.from, r, utc)} – ${date(r.from, utc) === date(r.to, utc) ? dateTime(r.to, utc).slice(11) : dateTime(r.to, utc)}${zoneOf(r.to, r, utc)}`;
  const past = PASTS[param('past')];
  return (
    <Menu icon="clock" label={past ? `${label}, and ${past.name}` : label} title="Time range (t)">
      {(close) => <RangeForm close={close} />}
    </Menu>
  );
}

function RangeForm({ close }: { close: () => void }) {
  const r = range.value;
  const utc = isUTC();
  const [from, setFrom] = useState(dateTime(r.from, utc));
  const [to, setTo] = useState(dateTime(r.to, utc));
  const [error, setError] = useState('');
  // The fields follow the buttons, not the clock: somebody may be typing.
  useEffect(() => {
    setFrom(dateTime(r.from, utc));
    setTo(dateTime(r.to, utc));
  }, [r.relative ?? `${r.from} ${r.to}`, utc]);
  const apply = (e: Event) => {
    e.preventDefault();
    const a = parseDuration(from);
    if (a && (to === 'now' || to === '')) {
      setRelative(from.trim());
      return close();
    }
    const f = parseDateTime(from, utc);
    const t = parseDateTime(to, utc);
    if (f === undefined || t === undefined) return setError('Enter times such as 2026-11-25 03:10');
    if (t <= f) return setError('End must be after start');
    setAbsolute(f, t);
    close();
  };
  return (
    <div style={{ width: '250px' }}>
      <div style={{ display: 'grid', gridTemplateColumns: 'repeat(4, 1fr)' }}>
        {RANGES.map((x) => (
          <button
            type="button"
            key={x}
            aria-selected={r.relative === x}
            style={{ justifyContent: 'center' }}
            onClick={() => {
              setRelative(x);
              close();
            }}
          >
            {x}
          </button>
        ))}
      </div>
      <hr />
      {Object.entries(PASTS).map(([past, { title }]) => (
        <button
          type="button"
          key={past}
          aria-pressed={param('past') === past}
          onClick={() => {
            setParams({ past: param('past') === past ? null : past }, false);
            close();
          }}
        >
          <span style={{ width: '16px' }}>{param('past') === past && <Icon name="ok" />}</span>
          {title}, dashed
        </button>
      ))}
      <hr />
      <div style={{ display: 'grid', gridTemplateColumns: 'repeat(3, 1fr)' }}>
        <button
          type="button"
          style={{ justifyContent: 'center' }}
          title="Back half a range ([)"
          onClick={() => shift(-0.5)}
        >
          <Icon name="left" />
          Back
        </button>
        <button type="button" style={{ justifyContent: 'center' }} title="Zoom out (z)" onClick={zoomOut}>
          <Icon name="zoomout" />
          Zoom out
        </button>
        <button
          type="button"
          style={{ justifyContent: 'center' }}
          title="Forward half a range (])"
          onClick={() => shift(0.5)}
        >
          Forward
          <Icon name="right" />
        </button>
      </div>
      <hr />
      <form class="stack" style={{ padding: '6px 8px', gap: '6px' }} onSubmit={apply}>
        <label class="line">
          From, {utc ? 'UTC' : 'local time'}
          <input class="field" value={from} onInput={(e) => setFrom(e.currentTarget.value)} />
        </label>
        <label class="line">
          To
          <input class="field" value={to} onInput={(e) => setTo(e.currentTarget.value)} />
        </label>
        {error && (
          <span class="status crit" role="alert">
            {error}
          </span>
        )}
        <button class="btn primary" style={{ justifyContent: 'center' }}>
          Apply
        </button>
      </form>
    </div>
  );
}
