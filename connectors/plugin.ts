/** What a connector that somebody else has written imports as `waybill`: the contract, and what makes it short. */
export { Type } from 'typebox';
export { throwIfCancelled } from '../network/cancellation.ts';
export { WaybillError } from '../schema/errors.ts';
export { baseName, joinPath, normalisePath, parentFolder } from '../schema/paths.ts';
export type * from './contract.ts';
export { defineConnector } from './contract.ts';
export { isoTime, isSameVersion, isTemporaryName, temporaryPath } from './temporary.ts';
