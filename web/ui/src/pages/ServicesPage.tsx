import { Empty } from '../components/bits';

export default function ServicesPage() {
  return <div class="panel"><Empty title="Services" /></div>;
}
