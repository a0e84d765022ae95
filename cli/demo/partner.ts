import { findSshd, startOpenssh } from './openssh.ts';
import { startSsh2Server } from './ssh2Server.ts';

/** An SFTP server that plays the partner: on 127.0.0.1, a free port, keys of its own, one user with one key. */
export interface Partner {
  /** `openssh` when the machine has its server, else a small one of ours on npm `ssh2`. */
  implementation: 'openssh' | 'ssh2';
  host: string;
  port: number;
  username: string;
  /** `root` of the endpoint's config: where `folder` is, as the server names it. */
  root: string;
  /** Private key text, for the endpoint's secret `privateKey`. */
  privateKey: string;
  hostKeyFingerprint: string;
  /** null when it runs in this process. */
  pid: number | null;
  /** Safe twice. */
  stop(): Promise<void>;
}

/** Serves `folder`. Installs nothing and needs no root; `implementation` insists on one of the two. */
export async function startPartner({
  folder,
  implementation,
}: {
  folder: string;
  implementation?: Partner['implementation'];
}): Promise<Partner> {
  if (implementation === 'ssh2' || (implementation === undefined && findSshd() === undefined))
    return startSsh2Server(folder);
  const server = await startOpenssh();
  return { ...server, implementation: 'openssh', root: folder };
}
