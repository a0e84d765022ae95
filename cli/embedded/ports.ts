import { createServer } from 'node:net';
import { WaybillError } from '../../schema/errors.ts';

/** Free ports of that host, all different: they are held together until the last one is known. */
export async function freePorts(host: string, count: number): Promise<number[]> {
  const listeners = await Promise.all(Array.from({ length: count }, () => listen(host, 0)));
  const ports = listeners.map((listener) => (listener.address() as { port: number }).port);
  await Promise.all(listeners.map((listener) => new Promise((resolve) => listener.close(resolve))));
  return ports;
}

/** A free port of that host, held until it is released: whoever comes meanwhile finds the door shut. */
export async function holdPort(host: string): Promise<{ port: number; release(): Promise<void> }> {
  const listener = await listen(host, 0);
  return {
    port: (listener.address() as { port: number }).port,
    release: () => new Promise((resolve) => listener.close(() => resolve())),
  };
}

/** Throws conflict, naming port and option, when somebody listens there already; invalid when the host is not ours. */
export async function assertPortFree(host: string, port: number, option: string): Promise<void> {
  if (port === 0) return;
  try {
    const listener = await listen(host, port);
    await new Promise((resolve) => listener.close(resolve));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const where = `port ${port} on ${host} (${option})`;
    if (code === 'EADDRINUSE') {
      throw new WaybillError('conflict', `${where} is taken; choose another, or ${option} 0 for any free one`);
    }
    if (code === 'EACCES') throw new WaybillError('conflict', `${where} needs more rights; choose one above 1023`);
    throw new WaybillError('invalid', `cannot listen on ${where}: ${code ?? String(error)}`, { cause: error });
  }
}

function listen(host: string, port: number): Promise<ReturnType<typeof createServer>> {
  return new Promise((resolve, reject) => {
    const listener = createServer((socket) => socket.destroy());
    listener.once('error', reject);
    listener.listen({ host, port, exclusive: true }, () => resolve(listener));
  });
}
