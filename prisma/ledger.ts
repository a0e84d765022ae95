/** The SQL of the ledger: transfers, deliveries, claims and file sets. See `prisma/ledger/`. */
export * from './ledger/changes.ts';
export * from './ledger/claims.ts';
export * from './ledger/counts.ts';
export * from './ledger/fileSets.ts';
export * from './ledger/leftOvers.ts';
export * from './ledger/memory.ts';
export * from './ledger/transfers.ts';
