import { ServicesOf } from '../../components/services/ServicesOf';
import { has, NoKind, useAbout } from './context';

export function Services() {
  const a = useAbout();
  if (!has(a, 'systemd_unit_state', 'node_systemd_unit_state'))
    return <NoKind kind="systemd" metrics="systemd units" />;
  return (
    <div class={a.away ? 'stale' : ''}>
      <ServicesOf where={{ host: a.name, machine: a.name, selector: a.m }} time={a.when} />
    </div>
  );
}
