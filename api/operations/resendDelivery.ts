import type { Delivery, Prisma, Run } from '../../prisma/generated/client.ts';
import { WaybillError } from '../../schema/errors.ts';
import { publicId, rowId } from '../../schema/names.ts';
import type { DeliveryState } from '../../schema/plan.ts';
import type { Operation } from '../context.ts';
import { boundedReason } from './reason.ts';
import { runOnceMore } from './retryRun.ts';
import { startOnce } from './startRun.ts';

/**
 * Starts a run that sends the file version of a delivery once more, although it was delivered; an event keeps the reason.
 * Throws invalid without a reason, not-found, and conflict for what was never delivered; otherwise as startRun. Whether
 * that version is still at its source the run finds out.
 */
export async function resendDelivery(
  operation: Operation,
  input: { id: string; reason: string; idempotencyKey: string },
): Promise<{ run: Run }> {
  const { tenantId } = operation.caller;
  if (input.reason.trim() === '')
    throw new WaybillError('invalid', 'say why the file is to be sent again', { field: 'reason' });
  const use = { operation: 'resendDelivery', key: input.idempotencyKey, request: input };
  return startOnce(operation, use, async ({ db }) => {
    const delivery = await findDelivery(db, tenantId, input.id);
    const why = whyNot(delivery);
    if (why !== null) throw new WaybillError('conflict', why, { code: 'NOTHING_TO_RESEND', field: 'id' });
    const run = await db.run.findFirstOrThrow({ where: { tenantId, id: delivery.runId }, include: { version: true } });
    return runOnceMore(run, {
      trigger: 'resend',
      retryDeliveries: [delivery.id],
      event: {
        type: 'delivery.resent',
        deliveryId: delivery.id,
        data: { pipeline: run.pipelineName, reason: boundedReason(input.reason) },
      },
    });
  });
}

async function findDelivery(
  db: Prisma.TransactionClient,
  tenantId: string,
  publicDeliveryId: string,
): Promise<Delivery> {
  const id = rowId('delivery', publicDeliveryId);
  const delivery = id === undefined ? null : await db.delivery.findFirst({ where: { tenantId, id } });
  if (delivery === null) throw new WaybillError('not-found', 'there is no such delivery', { field: 'id' });
  return delivery;
}

/** Why there is nothing to send again, in words that say what to do instead. */
function whyNot({ state, duplicateOf, errorKind }: Delivery): string | null {
  switch (state as DeliveryState) {
    case 'settled':
      return null;
    case 'published':
      return errorKind === null ? 'the delivery is under way: its source is being moved or deleted; try again' : null;
    case 'skipped':
      return duplicateOf === null
        ? null
        : `the delivery was skipped, since ${publicId('delivery', duplicateOf)} had delivered the file: resend that one`;
    case 'failed':
    case 'cancelled':
      return `the delivery is ${state}: the file was never delivered; retry its run`;
    default:
      return `the delivery is ${state}: the file has not been delivered yet`;
  }
}
