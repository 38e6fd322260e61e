import { Empty } from '../components/bits';

export default function TargetsPage() {
  return <div class="panel"><Empty title="Targets" /></div>;
}
