import { ownerName } from '../identity/firstRun.ts';

/** The line that a new installation prints once, on the terminal and nowhere else. */
export function tellOneTimePassword(password: string): string {
  return `administrator: ${ownerName}, one-time password: ${password} (not shown again; the first sign-in sets another one)`;
}
