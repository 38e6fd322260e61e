import { Empty } from '../components/bits';

export default function RulesPage() {
  return <div class="panel"><Empty title="Rules" /></div>;
}
