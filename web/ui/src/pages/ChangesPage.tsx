// Changes: what happened in the fleet in the selected range.
import { Changes } from '../components/Changes';
import { href } from '../state/location';

export default function ChangesPage() {
  return (
    <Changes
      head={
        <>
          <h1>Changes</h1>
          <a href={href('/uptime')}>Uptime by month</a>
        </>
      }
    />
  );
}
