/** Place of a code in the error catalogue. */
export function docsUrl(code: string): string {
  return `docs/errors.md#${code.toLowerCase().replaceAll('_', '-')}`;
}
