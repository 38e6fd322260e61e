// What the Machine page asks, chart by chart, in queries.snap: a test of the
// server's rules evaluates these and compares them with what Fleet and alerts say.
import { isValidElement, type ComponentChildren, type VNode } from 'preact';
import { expect, test, vi } from 'vitest';

const asked: Record<string, string[]> = {};

vi.mock('preact/hooks', async (original) => ({ ...(await original<object>()), useMemo: (f: () => unknown) => f() }));
const nothing = () => null;
vi.mock('../../api/prom', () => ({ vector: nothing, quote: JSON.stringify, anyOf: String }));
vi.mock('../../components/bits', () => ({
  Empty: nothing,
  ErrorNote: nothing,
  Loading: nothing,
  Panel: nothing,
  Snippet: nothing,
}));
vi.mock('../../components/Meter', () => ({ Meter: nothing }));
vi.mock('../../components/Traffic', () => ({ MachineTraffic: nothing }));
vi.mock('../../components/Status', () => ({ Status: nothing }));
vi.mock('../../components/icons', () => ({ Icon: nothing }));
vi.mock('../../state/clock', () => ({ range: { value: { from: 0, to: 3600 } }, frozen: { value: undefined } }));
vi.mock('../../state/data', () => ({ useData: () => ({ data: [], error: undefined }) }));
vi.mock('../../state/limits', () => ({ useLimiting: () => [] }));
vi.mock('./context', () => ({
  judged: () => true,
  useAbout: () => ({ m: 'machine="m0"', name: 'm0', jobs: [], scrape: 15, away: false }),
  // A machine without ZFS and the like, and without units.
  has: (_: unknown, ...names: string[]) => names.some((n) => !/zfs|smart|systemd|process_|clanmon_/.test(n)),
  Chart: (p: { title: string; queries: { expr: string }[] }) => {
    asked[p.title] = p.queries.map((q) => q.expr);
    return null;
  },
  NoKind: () => null,
}));

// draw calls components until only elements are left.
function draw(node: ComponentChildren): void {
  if (Array.isArray(node)) {
    for (const child of node) draw(child);
  } else if (isValidElement(node)) {
    const { type, props } = node as VNode<{ children?: ComponentChildren }>;
    draw(typeof type === 'function' ? (type as (p: object) => ComponentChildren)(props) : props.children);
  }
}

test('queries.snap is what the page asks', async () => {
  const { Overview } = await import('./Overview');
  const { Disks } = await import('./Disks');
  const { Hardware } = await import('./Hardware');
  for (const Page of [Overview, Disks, Hardware]) draw(<Page />);
  const compared = ['CPU', 'Memory', 'Pressure', 'Network', 'Space used', 'Temperature'];
  const out = Object.fromEntries(compared.map((title) => [title, asked[title]]));
  await expect(`${JSON.stringify(out, null, 2)}\n`).toMatchFileSnapshot('queries.snap');
});
