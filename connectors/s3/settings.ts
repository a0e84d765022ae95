import { normalisePath } from '../../schema/paths.ts';

export interface S3Settings {
  /** `https://s3.eu-central-1.amazonaws.com`, `http://127.0.0.1:9000` ... */
  origin: string;
  /** What the requests are signed for: name and port of the origin. */
  host: string;
  /** `/bucket` where the bucket is in the path, and nothing where it is in the name. */
  bucketPath: string;
  /** On the way nobody can change a byte: what is sent need not be hashed for the signature. */
  isTls: boolean;
  /** The endpoint is Amazon's own. */
  isAws: boolean;
  region: string;
  bucket: string;
  /** Empty, or with its `/` at the end: nothing outside of it is used. */
  prefix: string;
  /** Whether checksums go with what is sent. */
  checksums: boolean;
}

/** What the configuration says. Throws invalid for a prefix that is no path. */
export function readSettings(config: {
  endpoint?: string;
  region: string;
  bucket: string;
  prefix?: string;
  pathStyle?: boolean;
  checksums?: boolean;
}): S3Settings {
  const { region, bucket } = config;
  const aws = `https://s3.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}`;
  const url = new URL(config.endpoint ?? aws);
  // A certificate for *.s3.amazonaws.com covers no name with more dots.
  const pathStyle = config.pathStyle ?? (config.endpoint !== undefined || bucket.includes('.'));
  const host = pathStyle ? url.host : `${bucket}.${url.host}`;
  const prefix = normalisePath(`/${config.prefix ?? ''}/`).slice(1);
  return {
    origin: `${url.protocol}//${host}`,
    host,
    bucketPath: pathStyle ? `/${bucket}` : '',
    isTls: url.protocol === 'https:',
    isAws: url.hostname.endsWith('.amazonaws.com') || url.hostname.endsWith('.amazonaws.com.cn'),
    region,
    bucket,
    prefix,
    checksums: config.checksums ?? true,
  };
}

/** What is waited for, and how long. An argument, so that a test need not wait half a minute. */
export interface S3Patience {
  /** Until a request is on its way: a place among the connections, the connection itself, TLS. */
  startTimeoutMs: number;
  /** Without a byte taken or given by the server. */
  answerTimeoutMs: number;
  /** The same where the server works on a whole object before it answers: completing an upload, copying. */
  slowAnswerTimeoutMs: number;
  /** A line on which a copy is still worth waiting for: what buffers on the way hold arrives at that speed. */
  slowestBytesPerSecond: number;
}

export const s3Patience: S3Patience = {
  startTimeoutMs: 30_000,
  answerTimeoutMs: 30_000,
  slowAnswerTimeoutMs: 600_000,
  slowestBytesPerSecond: 65_536,
};

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;

export const limits = {
  /**
   * Size of a part: 8 MiB less 20 KiB. It fills a buffer of 8 MiB, S3 wants 5 MiB at least, and no other program's parts
   * have it: the sweep knows our abandoned uploads by it, since a listing of uploads says nothing else about their origin.
   */
  partBytes: 8 * MiB - 20 * KiB,
  parts: 10_000,
  partsInFlight: 4,
  /** Small objects that wait in memory for their commit, in one connector. A file that finds no room goes in parts. */
  waitingBytes: 32 * MiB,
  /** What one GET asks for. */
  readBytes: 4 * MiB,
  readsInFlight: 8,
  filesInFlight: 64,
  /** A server copies no more in one request. */
  copyBytes: 5 * GiB,
  copyPartBytes: GiB,
  copyPartsInFlight: 4,
  listEntries: 1_000,
  /** A page of a listing with the longest keys, and no other answer, comes near it. */
  answerBytes: 16 * MiB,
  /** Pieces in which a body is handed to the socket; each that it takes is progress. */
  sliceBytes: 256 * KiB,
  quotedCharacters: 300,
  abortTimeoutMs: 10_000,
} as const;
