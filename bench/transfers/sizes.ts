/** What is moved. The small files are 10 KiB each, as partners send them. */
export interface Sizes {
  largeBytes: number;
  smallFiles: number;
  smallBytes: number;
  rounds: number;
}

const smallBytes = 10 * 1024;

export function sizesOf(quick: boolean): Sizes {
  return quick
    ? { largeBytes: 256 * 1024 ** 2, smallFiles: 1_000, smallBytes, rounds: 3 }
    : { largeBytes: 1024 ** 3, smallFiles: 10_000, smallBytes, rounds: 5 };
}

/** From milliseconds to how much a second. */
export function perSecond(amount: number, oursMs: number, peerMs: number): { ours: number; peer: number } {
  return { ours: amount / (oursMs / 1000), peer: amount / (peerMs / 1000) };
}
