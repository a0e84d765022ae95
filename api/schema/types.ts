import type * as rows from '../../prisma/generated/client.ts';
import type { Diagnostic } from '../../schema/diagnostics.ts';
import type { Failure, TransferCounts } from '../../schema/plan.ts';
import type { RunProgress } from '../loaders.ts';
import { builder } from './builder.ts';

/** The object types that more than one subject names, over the rows they show; each subject's file gives them fields. */
export const RunType = builder.objectRef<rows.Run>('Run');
export const PipelineType = builder.objectRef<rows.Pipeline>('Pipeline');
export const PipelineVersionType = builder.objectRef<rows.PipelineVersion>('PipelineVersion');
export const TransferType = builder.objectRef<rows.Transfer>('Transfer');
export const DeliveryType = builder.objectRef<rows.Delivery>('Delivery');
export const EndpointType = builder.objectRef<rows.ConnectorEndpoint>('Endpoint');
export const WebhookType = builder.objectRef<rows.Webhook>('Webhook');
export const WebhookDeliveryType = builder.objectRef<rows.WebhookDelivery>('WebhookDelivery');
export const SessionType = builder.objectRef<rows.Session>('Session');
export const PrincipalType = builder.objectRef<rows.Principal>('Principal');
export const AuditEventType = builder.objectRef<rows.AuditEvent>('AuditEvent');
export const ApiKeyType = builder.objectRef<rows.ApiKey>('ApiKey');
export const SecretType = builder.objectRef<rows.Secret>('Secret');

export const FailureType = builder.objectRef<Failure>('Failure');
export const TransferCountsType = builder.objectRef<TransferCounts>('TransferCounts');
export const RunProgressType = builder.objectRef<RunProgress>('RunProgress');
export const DiagnosticType = builder.objectRef<Diagnostic>('Diagnostic');

/** Whatever has a global id; `node(id)` gives it. */
export const NodeType = builder.interfaceRef<{ id: string }>('Node');
