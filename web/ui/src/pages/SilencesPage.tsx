import { Empty } from '../components/bits';

export default function SilencesPage() {
  return <div class="panel"><Empty title="Silences" /></div>;
}
