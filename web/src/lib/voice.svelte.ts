/** What the recogniser knows of the user's voice; it stays in the page, or in the browser where the user asks for it. */

import { known, shownAs } from "./device/voice_profile";
import type { VoiceProfile } from "./device/voice_profile";
import type { RecognizerCard } from "./protocol";

/** What a conversation tells after each passage. */
export interface VoiceHeard {
  /** 0 not at all, near 1 after dozens of passages. */
  known: number;
  profile: VoiceProfile | null;
}

const KEY = "vocaffect-voice";

export class Voice {
  /** Null where the recogniser learns no voices, or has not said so yet. */
  known = $state<number | null>(null);
  profile = $state.raw<VoiceProfile | null>(null);
  kept = $state(false);

  constructor(private readonly storage: Pick<Storage, "getItem" | "setItem" | "removeItem">) {}

  /** Turn to a recogniser: what was kept of the voice with another one says nothing to it. */
  meet(card: RecognizerCard): void {
    if (this.profile?.digest === card.digest) return;
    const text = this.storage.getItem(`${KEY} ${card.digest}`);
    this.profile = text === null ? null : (JSON.parse(text) as VoiceProfile);
    this.kept = text !== null;
    this.known = this.profile && known(this.profile);
  }

  hear(heard: VoiceHeard): void {
    this.known = heard.known;
    this.profile = heard.profile;
    this.#store();
  }

  /** What was said last is known to express the label with this place. */
  shown(label: number): void {
    if (this.profile) this.profile = shownAs(this.profile, label);
    this.#store();
  }

  keep(on: boolean): void {
    if (!on && this.profile) this.storage.removeItem(`${KEY} ${this.profile.digest}`);
    this.kept = on;
    this.#store();
  }

  /** At once and for good, in the page and in the browser. */
  forget(): void {
    if (this.profile) this.storage.removeItem(`${KEY} ${this.profile.digest}`);
    this.profile = null;
    this.kept = false;
    this.known = this.known === null ? null : 0;
  }

  #store(): void {
    if (this.kept && this.profile)
      this.storage.setItem(`${KEY} ${this.profile.digest}`, JSON.stringify(this.profile));
  }
}
