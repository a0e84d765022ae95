import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { WaybillError } from '../schema/errors.ts';

const maxAllowedCidrs = 50;
/** The longest spelling there is: an IPv6 address that ends in dotted decimals, and `/128`. */
const maxCidrCharacters = 49;

/** Leading bits of an IPv6 address that count as one address. */
const countedBits = 64;

type Network = [address: ipaddr.IPv4 | ipaddr.IPv6, bits: number];

/**
 * Networks as they are stored: canonical, each once, `::ffff:10.0.0.0/104` as the `10.0.0.0/8` that it means. Throws invalid
 * for too many, and for the first that is no network: a spelling that other programs read otherwise (`010.0.0.0/8`), an
 * address without its length, or one with bits behind the length, which may be a mistyped length.
 */
export function readAllowedCidrs(cidrs: readonly string[]): string[] {
  if (cidrs.length > maxAllowedCidrs) refuse(`a key has at most ${maxAllowedCidrs} allowed networks`);
  return [...new Set(cidrs.map(canonical))];
}

/** Whether a caller of that address is inside one of the stored networks. No address, or none that can be read, is outside. */
export function holdsAddress(cidrs: readonly string[], address: string | undefined): boolean {
  if (address === undefined || !ipaddr.isValid(address)) return false;
  return isInside(ipaddr.process(address), cidrs);
}

/** What counts as one address where failures are counted: whoever has one IPv6 address has its whole network. */
export function countedAddressOf(address: string | undefined): string {
  if (address === undefined || !ipaddr.isValid(address)) return 'unknown';
  const parsed = ipaddr.process(address);
  if (parsed.kind() === 'ipv4') return parsed.toString();
  return ipaddr.IPv6.networkAddressFromCIDR(`${parsed.toString()}/${countedBits}`).toString();
}

/** Whether the whole of a stored network is inside one of the others. */
export function isWithin(cidr: string, others: readonly string[]): boolean {
  const [address, bits] = ipaddr.parseCIDR(cidr);
  return isInside(address, others, bits);
}

function isInside(address: Network[0], cidrs: readonly string[], leastBits = Number.POSITIVE_INFINITY): boolean {
  return cidrs.some((cidr) => {
    const [network, bits] = ipaddr.parseCIDR(cidr);
    return network.kind() === address.kind() && bits <= leastBits && address.match(network, bits);
  });
}

function canonical(cidr: string): string {
  const shown = JSON.stringify(cidr.slice(0, maxCidrCharacters));
  const network = cidr.length > maxCidrCharacters ? undefined : networkOf(cidr);
  if (network === undefined) return refuse(`${shown} is not a network such as 203.0.113.0/24 or 2001:db8::/32`);
  const text = `${network[0].toString()}/${network[1]}`;
  if (firstAddress(text) !== network[0].toString())
    return refuse(`${shown} has bits behind its length; the network is ${firstAddress(text)}/${network[1]}`);
  return text;
}

function networkOf(cidr: string): Network | undefined {
  // Node refuses what ipaddr.js reads generously: octal, hexadecimal and missing parts.
  const isAddress = isIP(cidr.split('/')[0]!) !== 0;
  // A zone (`fe80::1%eth0`) names an interface of one machine, not a network.
  if (!isAddress || cidr.includes('%') || !ipaddr.isValidCIDR(cidr)) return undefined;
  const [address, bits] = ipaddr.parseCIDR(cidr);
  const isMapped = address instanceof ipaddr.IPv6 && address.isIPv4MappedAddress() && bits >= 96;
  return isMapped ? [address.toIPv4Address(), bits - 96] : [address, bits];
}

function firstAddress(cidr: string): string {
  const family = cidr.includes(':') ? ipaddr.IPv6 : ipaddr.IPv4;
  return family.networkAddressFromCIDR(cidr).toString();
}

function refuse(message: string): never {
  throw new WaybillError('invalid', message, { field: 'allowedCidrs' });
}
