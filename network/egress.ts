import { lookup } from 'node:dns/promises';
import ipaddr from 'ipaddr.js';
import { WaybillError } from '../schema/errors.ts';
import type { EgressPolicy } from './contract.ts';

/** An address that passed the guard, in canonical form: what is dialled is this text, never the name again. */
export interface CheckedAddress {
  address: string;
  family: 4 | 6;
}

/** Ranges that no `allow` entry opens: they mean this machine, its neighbours' configuration (cloud metadata), or everybody. */
const neverOpened: ReadonlySet<string> = new Set(['loopback', 'unspecified', 'linkLocal', 'multicast', 'broadcast']);

/**
 * Every address of `host`, each checked. A literal address in any spelling (`127.1`, `0x7f.1`, `2130706433`,
 * `::ffff:127.0.0.1`) is read as the address it means. Throws egress-denied when *any* address is not allowed, so that a
 * name cannot hide a private address behind a public one; unavailable when the name does not resolve.
 */
export async function resolveAllowed(host: string, policy: EgressPolicy): Promise<CheckedAddress[]> {
  const bare = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host;
  const addresses = ipaddr.isValid(bare) ? [bare] : await resolve(bare);
  return addresses.map((address) => {
    const parsed = ipaddr.process(address);
    if (!isAllowed(parsed, policy)) throw denied(bare, parsed);
    return { address: parsed.toString(), family: parsed.kind() === 'ipv4' ? 4 : 6 };
  });
}

/** Throws invalid when an `allow` entry is not a CIDR. Called once, when the dialler is made. */
export function checkPolicy(policy: EgressPolicy): void {
  for (const cidr of policy.allow) {
    if (!ipaddr.isValidCIDR(cidr)) {
      throw new WaybillError('invalid', `egress range ${JSON.stringify(cidr)} is not a CIDR such as 10.0.0.0/8`, {
        field: 'allow',
      });
    }
  }
}

function isAllowed(address: ipaddr.IPv4 | ipaddr.IPv6, policy: EgressPolicy): boolean {
  const range = address.range();
  if (range === 'loopback') return policy.loopback;
  if (neverOpened.has(range) || isCompatible(address)) return false;
  if (range === 'unicast') return true;
  return policy.allow.some((cidr) => {
    const [network, bits] = ipaddr.parseCIDR(cidr);
    return network.kind() === address.kind() && address.match(network, bits);
  });
}

/** `::a.b.c.d`, the retired IPv4-compatible form (::/96): some stacks route it as the IPv4 address inside. */
function isCompatible(address: ipaddr.IPv4 | ipaddr.IPv6): boolean {
  return address.kind() === 'ipv6' && address.match(ipaddr.IPv6.parse('::'), 96);
}

async function resolve(host: string): Promise<string[]> {
  try {
    const found = await lookup(host, { all: true, verbatim: true });
    if (found.length > 0) return found.map(({ address }) => address);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    throw new WaybillError('unavailable', `the name ${JSON.stringify(host)} cannot be resolved (${code})`, {
      operation: 'resolving',
      host,
      cause: error,
    });
  }
  throw new WaybillError('unavailable', `the name ${JSON.stringify(host)} has no address`, {
    operation: 'resolving',
    host,
  });
}

function denied(host: string, address: ipaddr.IPv4 | ipaddr.IPv6): WaybillError {
  const text = address.toString();
  const what = text === host ? text : `${JSON.stringify(host)} is ${text}, which`;
  return new WaybillError(
    'egress-denied',
    `${what} is a ${address.range()} address that the egress guard does not allow`,
    {
      operation: 'resolving',
      host,
      address: text,
    },
  );
}
