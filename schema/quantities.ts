/** Durations (`30s`, `5m`, `2h`, `7d`, `250ms`), as the pipeline language writes them. */
const durationUnitMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

export const durationPattern = '^[0-9]+(ms|s|m|h|d)$';

/** `500B`, `10KB` (10,000 bytes), `5GiB` (5 x 1,073,741,824 bytes). */
const sizeUnitBytes = {
  B: 1,
  ...{ KB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 },
  ...{ KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 },
} as const;

export const sizePattern = '^[0-9]+([KMGT]i?)?B$';

/** `5%`, `0.5%`, up to `100%`. */
export const percentagePattern = '^(100(\\.0{1,6})?|[0-9]{1,2}(\\.[0-9]{1,6})?)%$';

/** Milliseconds of a duration text, or undefined when it is not one. */
export function parseDurationMs(text: string): number | undefined {
  const match = /^(\d+)(ms|s|m|h|d)$/.exec(text);
  return match ? Number(match[1]) * durationUnitMs[match[2] as keyof typeof durationUnitMs] : undefined;
}

/** Bytes of a size text, or undefined when it is not one, or more than any file can have. */
export function parseSizeBytes(text: string): number | undefined {
  const match = /^(\d+)((?:[KMGT]i?)?B)$/.exec(text);
  const bytes = match ? Number(match[1]) * sizeUnitBytes[match[2] as keyof typeof sizeUnitBytes] : Number.NaN;
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** Milliseconds since 1970 of a time that names its zone (`2026-11-22T18:00:00+01:00`, `...Z`), or undefined when it is not one. */
export function parseInstantMs(text: string): number | undefined {
  const match = /^(\d{4}-\d{2}-\d{2})T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/.exec(text);
  if (!match) return undefined;
  const timeMs = Date.parse(text);
  // Date.parse takes the 31st of each month.
  const day = Date.parse(`${match[1]}T00:00:00Z`);
  const isDay = !Number.isNaN(day) && new Date(day).toISOString().startsWith(match[1]!);
  return isDay && !Number.isNaN(timeMs) ? timeMs : undefined;
}

/** `1.5 GiB`, for people. */
export function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const units = ['KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let value = bytes / 1024;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value >= 100 ? value.toFixed(0) : value.toFixed(1)} ${units[unit]}`;
}
