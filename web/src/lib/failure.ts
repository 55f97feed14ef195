/** Why a conversation ended early. */
export class Failure extends Error {
  constructor(
    message: string,
    /** The other end is out of reach: it may be back soon. */
    readonly gone = false,
  ) {
    super(message);
  }
}
