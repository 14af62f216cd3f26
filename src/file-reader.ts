/** The program of the threads that read files ahead; see adapters/read-ahead.ts. */

import { workerData } from 'node:worker_threads';
import { readNamedFile } from './adapters/directory-source.ts';
import { JobRing } from './adapters/job-ring.ts';
import type { StoredFile } from './adapters/object-file.ts';
import { openObjectStore } from './adapters/object-store.ts';
import type { ReaderTask, ReadTask } from './adapters/read-ahead.ts';
import { VerityComputer } from './adapters/verity.ts';
import type { ByteString } from './formats/encoding.ts';
import { USUAL_VERITY } from './formats/fsverity.ts';

function readerOf(task: ReadTask): (name: ByteString) => StoredFile {
  if (task.kind === 'files') {
    const computer = new VerityComputer({ ...USUAL_VERITY, algorithm: task.algorithm });
    return (name) => readNamedFile(name, computer);
  }
  const { repo, digests, keepTrees, algorithm } = task;
  const store = openObjectStore(repo, { digests, keepTrees, algorithm, threads: 0 });
  return (checksum) => store.file(checksum);
}

const { task, slots, treeBytes, memory } = workerData as ReaderTask;
const read = readerOf(task);
const ring = new JobRing(slots, treeBytes, memory);
for (let job = ring.waitForJob(); job !== undefined; job = ring.waitForJob()) ring.work(job, read);
