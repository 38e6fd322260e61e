import { Empty } from '../components/bits';

export default function StatusPage() {
  return <div class="panel"><Empty title="Status" /></div>;
}
