import { Journal as Lines } from '../../components/look/Journal';
import { Processes } from '../../components/look/Processes';
import { useAbout } from './context';

export function Journal() {
  const { name } = useAbout();
  return (
    <div class="stack">
      <Processes machine={name} />
      <Lines machine={name} level={2} />
    </div>
  );
}
