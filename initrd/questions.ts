/** The questions that the program answers without touching anything. */

import { plannedBoot } from '../src/formats/boot-report.ts';
import type { ByteString } from '../src/formats/encoding.ts';
import { encodeJson } from '../src/formats/json.ts';
import { requireUsableKey } from '../src/formats/verdict.ts';
import { parseQuestion } from './arguments.ts';
import { choose, planOf, readCommandLine, withImage } from './choose.ts';
import { Phases } from './phases.ts';
import { answer, warn } from './report.ts';
import { loadPolicy, loadTrust } from './trust.ts';

/** `words` are the program's arguments without its name. */
export function answerQuestion(words: readonly ByteString[]): void {
  const question = parseQuestion(words);
  if (question.mode === 'plan') planBoot(question.root);
  else if (question.mode === 'check-policy') checkPolicy(question.policy, question.tree);
  else failureAction();
}

/** Takes the decision of a boot and prints it, with the steps that would follow. */
function planBoot(path: ByteString): void {
  const plan = choose(path, new Phases(), (chosen) => {
    return withImage(chosen, (image) => {
      return plannedBoot({ ...chosen.decision, rebuiltFor: image?.rebuiltFor }, planOf(chosen, image));
    });
  });
  answer([encodeJson(plan)]);
}

/** One `name=value` a line, for a shell. */
function checkPolicy(policyPath: ByteString, tree: ByteString): void {
  const { policy, keys, warnings } = loadTrust({ policyPath, tree });
  if (policy.sealed) requireUsableKey(keys);
  for (const warning of warnings) warn(warning);
  answer([`sealed=${policy.sealed}`, `keypath=${policy.keypath}`, `shell=${policy.allowsShell}`]);
}

/** One word. What the next deployment could do has been tried by then. */
function failureAction(): void {
  const { onFailure } = loadPolicy({ kernelArguments: readCommandLine() }).policy;
  answer([onFailure === 'next-deployment' ? 'emergency' : onFailure]);
}
