import { Empty } from '../components/bits';

export default function MachinePage() {
  return <div class="panel"><Empty title="Machine" /></div>;
}
