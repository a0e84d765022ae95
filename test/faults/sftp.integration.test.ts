import { describePassages } from './passages.ts';
import { startSftpPartner } from './sftpPartner.ts';

describePassages('an SFTP server', startSftpPartner);
