/**
 * What the bytecode compiler of QuickJS makes less of, written as it was before ES2015. It checks each use of a `let` or
 * `const` in a function, and sets each to "not yet" before; it takes destructuring apart step by step; a template is a
 * call of concat(). A sixth of all bytecodes that building an image takes was that.
 */
import path from 'node:path';
import { transformAsync } from '@babel/core';

const PROJECT = path.join(import.meta.dirname, '..');

/** In this order: what one makes, the next one takes. */
const PLUGINS = [
  '@babel/plugin-transform-template-literals',
  '@babel/plugin-transform-parameters',
  '@babel/plugin-transform-destructuring',
  '@babel/plugin-transform-block-scoping',
];

/**
 * Holds of all that is compiled here, @noble/curves included; without them each pattern and parameter would be a call
 * of a helper.
 */
const ASSUMPTIONS = {
  /** `[a, b]` takes apart arrays only, no set or map. */
  iterableIsArray: true,
  /** Nobody asks a function how many parameters it has. */
  ignoreFunctionLength: true,
  /** In a template stand no objects that are one text as a string and another one as a value. */
  ignoreToPrimitiveHint: true,
};

/** `script` is one function or an expression, not a module. The result means the same, but that it knows no TDZ. */
export async function lowered(script: string): Promise<string> {
  const result = await transformAsync(script, {
    cwd: PROJECT,
    babelrc: false,
    configFile: false,
    sourceType: 'script',
    compact: true,
    plugins: PLUGINS,
    assumptions: ASSUMPTIONS,
  });
  return result?.code ?? '';
}
