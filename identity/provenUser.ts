/** A user of the tenant, as a password, a ticket or an impersonator has named one. */
export interface ProvenUser {
  principalId: string;
  /** The documented integer `userId`. */
  userNumber: number;
  name: string;
  role: string;
}
