import { setParams } from '../state/location';
import { Empty } from './bits';

// NoMatch is what a list shows when its filter leaves nothing. params of the URL are the filter,
// of is how many there are without it.
export function NoMatch({ what, params, of }: { what: string; params: string[]; of?: number }) {
  return (
    <Empty icon="filter" title={`No ${what} match the filter`}>
      <button
        type="button"
        class="btn"
        onClick={() => setParams(Object.fromEntries(params.map((p) => [p, null])), false)}
      >
        Show all{of !== undefined && ` ${of}`}
      </button>
    </Empty>
  );
}
