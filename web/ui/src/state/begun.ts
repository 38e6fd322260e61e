// Where the charts of a page begin. A young server or a new machine has data for the end
// of the range only: its charts show that part, all the same one.
import { computed, signal } from '@preact/signals';
import { beginsAt } from '../lib/chart';
import { range } from './clock';
import { location } from './location';

// A chart tells when its first sample is. Other pages and other ranges begin anew.
const page = computed(() => {
  const { path, params } = location.value;
  return `${path} ${params.getAll('m')} ${params.get('tag') ?? ''} ${range.value.relative ?? ''}`;
});
const first = signal<{ page: string; time: number } | undefined>(undefined);

export function begins(time: number | undefined): void {
  if (time === undefined) return;
  const known = first.peek();
  if (known?.page !== page.peek() || time < known.time) first.value = { page: page.peek(), time };
}

// begun is the time from which on charts of this page show the range; undefined for all of
// it, as where somebody chose its ends.
export const begun = computed<number | undefined>(() => {
  const { from, to, relative } = range.value;
  const f = first.value;
  return relative && f?.page === page.value ? beginsAt(from, to, f.time) : undefined;
});
