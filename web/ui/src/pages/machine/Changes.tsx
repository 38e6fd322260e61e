import { Changes as List } from '../../components/Changes';
import { useAbout } from './context';

export function Changes() {
  return <List machine={useAbout().name} />;
}
