import { describePassages } from './passages.ts';
import { startS3Partner } from './s3Partner.ts';

describePassages('an S3 server', startS3Partner);
