import { Changes as List } from '../../components/Changes';
import { MachineUptime } from '../../components/Uptime';
import { useAbout } from './context';

export function Changes() {
  const { name } = useAbout();
  return (
    <>
      <MachineUptime machine={name} />
      <List machine={name} />
    </>
  );
}
