import { request } from './client';
import type { Job } from './types/jobs';

// jobs of all machines or of one; of 1,000 machines the backups alone are asked for
// where nothing else is shown.
export const jobs = (of: { machine?: string; backups?: boolean } = {}, signal?: AbortSignal) =>
  request<{ jobs: Job[] }>('/api/clanmon/v1/jobs', {
    params: { machine: of.machine, backups: of.backups ? 'true' : undefined },
    ...(signal && { signal }),
  }).then((d) => d.jobs);
