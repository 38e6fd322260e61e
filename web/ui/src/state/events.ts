// The events of the range of the page.
import { events } from '../api/events';
import { MOST } from '../lib/events';
import { range } from './clock';
import { useData } from './data';

// useEvents asks for those of a machine or of all; overlapping ones began before.
export function useEvents(of: { machine?: string | undefined; overlapping?: boolean }) {
  const { from, to, relative } = range.value;
  const what = `${of.overlapping ? 'overlapping' : ''} ${of.machine ?? ''}`;
  return useData(`events ${what} ${relative ?? `${from} ${to}`}`, (s) => {
    const r = range.peek();
    return events(Math.max(r.from, r.to - MOST), r.to, of, s);
  });
}
