import { ServicesOf } from '../../components/services/ServicesOf';
import { has, NoKind, useAbout } from './context';

export function Services() {
  const a = useAbout();
  if (!has(a, 'systemd_unit_state', 'node_systemd_unit_state'))
    return <NoKind kind="systemd" metrics="systemd units" />;
  return (
    <div class={a.away ? 'stale' : ''}>
      <ServicesOf machine={a.name} />
    </div>
  );
}
