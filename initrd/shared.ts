/** What the program hands to `seldom.ts`. The build writes this module (bundle.ts): it knows what that uses. */
export const shared = (): readonly unknown[] => [];
