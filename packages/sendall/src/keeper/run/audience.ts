/** The attachments of a run, and which one of them is in control. */
import type { KeeperAttachment, ToAttachment } from './attachment.js';

export class Audience {
  readonly attachments = new Set<KeeperAttachment>();
  /** How often control was taken. */
  controlEpoch = 0;
  /** Names the hold, over all of its links, that took control last. */
  #holder: Uint8Array | undefined;

  /**
   * Adds an attachment. One that wants control takes it from the one that has it; one that comes `again` (a link was
   * lost) only when no other caller took it since.
   */
  join(attachment: KeeperAttachment, holder: Uint8Array | undefined, again: boolean): void {
    const other = again && holder !== undefined && this.#holder !== undefined && !equal(holder, this.#holder);
    if (attachment.control && other) attachment.control = false;
    if (attachment.control) {
      this.controlEpoch++;
      this.#holder = holder && Uint8Array.from(holder);
      const { controller } = this;
      if (controller) {
        controller.control = false;
        controller.send({ type: 'CONTROL_LOST', controlEpoch: this.controlEpoch });
      }
    }
    this.attachments.add(attachment);
  }

  leave(attachment: KeeperAttachment): void {
    attachment.gone = true;
    this.attachments.delete(attachment);
  }

  get controller(): KeeperAttachment | undefined {
    for (const attachment of this.attachments) if (attachment.control) return attachment;
    return undefined;
  }

  tell(message: ToAttachment): void {
    for (const attachment of this.attachments) attachment.send(message);
  }

  /** The run is over: control means little from now on. */
  forgetHolder(): void {
    this.#holder = undefined;
  }
}

const equal = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;
