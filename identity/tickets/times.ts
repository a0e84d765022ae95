/** `MM/DD/YYYY HH:MM:SS` in UTC, as the documents write it. */
export function printTime(time: Date): string {
  const [year, month, day, ...clock] = [
    time.getUTCFullYear(),
    time.getUTCMonth() + 1,
    time.getUTCDate(),
    time.getUTCHours(),
    time.getUTCMinutes(),
    time.getUTCSeconds(),
  ].map((number, at) => String(number).padStart(at === 0 ? 4 : 2, '0'));
  return `${month}/${day}/${year} ${clock.join(':')}`;
}

/** Milliseconds of `MM/DD/YYYY HH:MM:SS` in UTC, or undefined for another form and for a time that no calendar has. */
export function readTime(text: string): number | undefined {
  const found = /^(\d\d)\/(\d\d)\/(\d{4}) (\d\d):(\d\d):(\d\d)$/.exec(text);
  if (found === null) return undefined;
  const [month, day, year, hour, minute, second] = found.slice(1).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const ms = Date.UTC(year, month - 1, day, hour, minute, second);
  // Date.UTC makes the 2nd of March of the 30th of February.
  return printTime(new Date(ms)) === text ? ms : undefined;
}

/** The same, and `MM/DD/YYYY H:MM PM`, whose seconds are 0. */
export function readTokenTime(text: string): number | undefined {
  const found = /^(\d\d\/\d\d\/\d{4}) (0?[1-9]|1[0-2]):(\d\d) (AM|PM)$/.exec(text);
  if (found === null) return readTime(text);
  const [, date, hour, minute, half] = found;
  const hours = (Number(hour) % 12) + (half === 'PM' ? 12 : 0);
  return readTime(`${date} ${String(hours).padStart(2, '0')}:${minute}:00`);
}
