import { Empty } from '../components/bits';

export default function ExplorePage() {
  return <div class="panel"><Empty title="Explore" /></div>;
}
