// Whether a machine can be forgotten, in the server's words where it cannot: what is
// listed somewhere, or responds, would be back at once.
import type { DiscoveryMethod, Machine, MachineTarget } from '../api/types/machines';

// cannotForget is why a machine, or one target of it, would come straight back; ''
// if it would not.
export function cannotForget(
  m: Machine,
  methods: DiscoveryMethod[] | undefined,
  only?: { job: string; instance: string },
): string {
  const targets = (m.targets ?? []).filter((t) => !only || (t.job === only.job && t.instance === only.instance));
  const found = targets.filter((t) => t.method !== 'stored' && t.method !== 'push');
  if (found.length) {
    const t = found.find((x) => !x.forgettable);
    return t ? why(t, methods) : '';
  }
  const fed = targets[0];
  if (fed?.method === 'push') return fed.health === 'up' ? `It pushes ${what(fed)}: stop that on the machine.` : '';
  return fed && m.state !== 'down' ? `Another server or agent sends samples of ${what(fed)}: remove it there.` : '';
}

const what = (t: MachineTarget) => `${t.instance} (job ${t.job})`;

function why(t: MachineTarget, methods: DiscoveryMethod[] | undefined): string {
  const from =
    methods?.find((m) => m.method === t.method && m.jobs?.includes(t.job))?.from ||
    (t.method === 'config' || !t.method ? 'the configuration file' : t.method);
  if (t.method === 'local') return `${what(t)} is part of this server: disable it with a server flag.`;
  if (t.method === 'tailscale' || t.method === 'dns') {
    if (t.health === 'up') return `${what(t)} still responds: stop its exporter or remove it from ${from}.`;
    if (t.health === 'unknown') return `${what(t)} has not been scraped yet.`;
  }
  return `${what(t)} is listed in ${from}: remove it there.`;
}
