import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type CaseContext, runCase } from '../../vm-tests/case.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sealroot-case-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('runCase()', () => {
  it('passes a case whose steps return', async () => {
    const load = async () => ({
      title: 't',
      deadlineSeconds: 60,
      run: async (context: { step(title: string, action: () => void): Promise<void> }) => {
        await context.step('one', () => {});
      },
    });
    const result = await runCase('name', load, join(folder, 'a'));
    expect(result.point).toMatchObject({ title: 'name', passed: true });
    expect(result.steps).toMatchObject([{ title: 'one', passed: true }]);
  });

  it('fails a case that runs no step', async () => {
    const load = async () => ({ title: 't', deadlineSeconds: 60, run: async () => {} });
    const result = await runCase('name', load, folder);
    expect(result.point.failure).toContain('it ran no step');
  });

  it('fails a case whose file cannot be imported', async () => {
    const result = await runCase('name', () => Promise.reject(new Error('no such module')), folder);
    expect(result.point).toMatchObject({ passed: false, failure: expect.stringContaining('no such module') });
  });

  it('fails a case at its deadline although it waits for ever', async () => {
    const load = async () => ({ title: 't', deadlineSeconds: 0.01, run: () => new Promise<never>(() => {}) });
    const result = await runCase('name', load, folder);
    expect(result.point.failure).toContain('deadline of 0.01 s passed');
  });

  it('fails a case whose step throws, and shows which one', async () => {
    const load = async () => ({
      title: 't',
      deadlineSeconds: 60,
      run: async (context: { step(title: string, action: () => void): Promise<void> }) => {
        await context.step('fine', () => {});
        await context.step('broken', () => {
          throw new Error('the fact');
        });
      },
    });
    const result = await runCase('name', load, folder);
    expect(result.point.failure).toContain('the fact');
    expect(result.steps).toMatchObject([{ passed: true }, { title: 'broken', passed: false }]);
  });

  it('counts the cases that share its guest by themselves, and fails those that are not judged once', async () => {
    const load = async () => ({
      title: 't',
      deadlineSeconds: 60,
      shared: ['good', 'bad', 'forgotten', 'twice'],
      run: async (context: CaseContext) => {
        await context.step('one', () => {});
        context.judge('twice', 1, () => {});
        context.judge('twice', 1, () => {});
        context.judge('good', 2, () => {});
        context.judge('bad', 3, () => {
          throw new Error('the fact');
        });
      },
    });
    const result = await runCase('name', load, folder);
    expect(result.point.passed).toBe(true);
    expect(result.shared).toMatchObject([
      { title: 'good', passed: true, seconds: 2 },
      { title: 'bad', passed: false, failure: expect.stringContaining('the fact') },
      { title: 'forgotten', passed: false, failure: 'cannot judge forgotten: 0 verdicts on it, expected 1' },
      { title: 'twice', passed: false, failure: 'cannot judge twice: 2 verdicts on it, expected 1' },
    ]);
  });
});
