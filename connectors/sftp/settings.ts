export interface SftpSettings {
  host: string;
  port: number;
  username: string;
  root: string;
  hostKeys: readonly string[];
  connections: number;
  /** `A.csv` and `a.csv` are two files. */
  caseSensitive?: boolean;
  /** For a server that takes the bytes of a file only in order: one block at a time, and no file is taken up again. */
  writesInOrder?: boolean;
}

/** What is waited for, and how long. An argument, so that a test need not wait half a minute. */
export interface SftpPatience {
  /** Until the TCP connection stands. */
  connectTimeoutMs: number;
  /** From there until signed in, for the key exchange and a slow directory server behind it. */
  signInTimeoutMs: number;
  /** Without any answer on a connection that has requests open, it is given up. */
  answerTimeoutMs: number;
  /** One request that stays open while others are answered: the server lost it. */
  requestTimeoutMs: number;
  /** Firewalls forget idle connections after a minute or more. */
  keepaliveMs: number;
  /** Given to a connection to say goodbye before its socket is destroyed. */
  closeTimeoutMs: number;
}

export const sftpPatience: SftpPatience = {
  connectTimeoutMs: 15_000,
  signInTimeoutMs: 20_000,
  answerTimeoutMs: 30_000,
  requestTimeoutMs: 600_000,
  keepaliveMs: 15_000,
  closeTimeoutMs: 1_000,
};

/** OpenSSH takes 255 KiB in one read or write; one block is then one request. Smaller limits split it. */
export const blockBytes = 255 * 1024;
/** With SFTP 3 and no word from the server, 32 KiB with its header is what every server must take. */
export const smallestBlockBytes = 32 * 1024 - 1024;
/** Files that share a connection before another connection is opened. */
export const filesPerConnection = 16;
