// The events of the range of the page.
import { events } from '../api/events';
import type { EventKind } from '../api/types/events';
import { MOST } from '../lib/events';
import { range } from './clock';
import { useData } from './data';

interface Of {
  machine?: string | undefined;
  overlapping?: boolean;
  kinds?: EventKind[] | undefined;
}

// useEvents asks for those of a machine or of all; overlapping ones began before.
export function useEvents(of: Of, wanted = true, every = 0) {
  const { from, to, relative } = range.value;
  const what = `${of.overlapping ? 'overlapping' : ''} ${of.kinds ?? ''} ${of.machine ?? ''}`;
  return useData(
    wanted ? `events ${what} ${relative ?? `${from} ${to}`}` : null,
    (s) => {
      const r = range.peek();
      return events(Math.max(r.from, r.to - MOST), r.to, of, s);
    },
    every,
  );
}
