/** The program of the threads that read file objects ahead; see adapters/read-ahead.ts. */

import { workerData } from 'node:worker_threads';
import { JobRing } from './adapters/job-ring.ts';
import { openObjectStore } from './adapters/object-store.ts';
import type { ReaderTask } from './adapters/read-ahead.ts';

const { repo, digests, keepTrees, slots, treeBytes, memory } = workerData as ReaderTask;
const store = openObjectStore(repo, { digests, keepTrees, threads: 0 });
const ring = new JobRing(slots, treeBytes, memory);
for (let job = ring.waitForJob(); job !== undefined; job = ring.waitForJob()) {
  ring.work(job, (checksum) => store.file(checksum));
}
