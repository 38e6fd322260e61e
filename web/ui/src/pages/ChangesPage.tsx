// Changes: what happened in the fleet in the selected range.
import { Changes } from '../components/Changes';

export default function ChangesPage() {
  return <Changes head={<h1>Changes</h1>} />;
}
