export function unpack(archive: Buffer, folder: string): void;
