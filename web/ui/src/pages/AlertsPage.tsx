import { Empty } from '../components/bits';

export default function AlertsPage() {
  return <div class="panel"><Empty title="Alerts" /></div>;
}
