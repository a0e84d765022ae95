import type { Connector } from '../../connectors/contract.ts';

/** A piece is what goes at once: the bytes of a sixteenth of a second, in this range. */
const piecesPerSecond = 16;
const leastPieceBytes = 16 * 1024;
/** Pieces of one file that are asked for ahead. */
const piecesInFlight = 4;

/**
 * The connector with blocks that suit a narrow line: large ones would go out in bursts, and many of them in flight would
 * wait so long that a copy looks as if it stood still. What goes in parts keeps the size that its server wants.
 */
export function inSmallPieces(connector: Connector, bytesPerSecond: number | undefined): Connector {
  if (bytesPerSecond === undefined) return connector;
  const pieceBytes = Math.max(leastPieceBytes, Math.floor(bytesPerSecond / piecesPerSecond));
  return Object.create(connector, {
    capabilities: {
      get() {
        const own = connector.capabilities;
        return {
          ...own,
          blockBytes: own.parts === null ? Math.min(own.blockBytes, pieceBytes) : own.blockBytes,
          readsInFlight: Math.min(own.readsInFlight, piecesInFlight),
          writesInFlight: Math.min(own.writesInFlight, piecesInFlight),
        };
      },
      enumerable: true,
    },
  }) as Connector;
}
