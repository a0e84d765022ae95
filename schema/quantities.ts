/** Durations (`30s`, `5m`, `2h`, `7d`, `250ms`) and sizes (`64KiB`, `1GiB`, `10MB`, `512`), as the pipeline language writes them. */
const durationUnitMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const sizeUnitBytes = {
  B: 1,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
} as const;

export const durationPattern = '^[0-9]+(ms|s|m|h|d)$';
export const sizePattern = '^[0-9]+(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)?$';

/** Milliseconds of a duration text, or undefined when it is not one. */
export function parseDurationMs(text: string): number | undefined {
  const match = /^(\d+)(ms|s|m|h|d)$/.exec(text);
  return match ? Number(match[1]) * durationUnitMs[match[2] as keyof typeof durationUnitMs] : undefined;
}

/** Bytes of a size text, or undefined when it is not one. */
export function parseSizeBytes(text: string): number | undefined {
  const match = /^(\d+)(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)?$/.exec(text);
  return match ? Number(match[1]) * sizeUnitBytes[(match[2] ?? 'B') as keyof typeof sizeUnitBytes] : undefined;
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
