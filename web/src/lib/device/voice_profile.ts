/** What a recogniser knows of a voice, as a value: the twin of `vocaffect.voices`, in the same JSON. */

import type { Card } from "./card";
import type { State } from "./utterance";

export interface VoiceProfile {
  format: "vocaffect-voice-1";
  recognizer: string;
  digest: string;
  prior: number;
  /** The sums that the recogniser's state holds; no sound can be made from them. */
  voice: number[];
}

const FORMAT = "vocaffect-voice-1";
const STATE = "voice";
const PRIOR = "voice_prior";

export function learnsVoices(card: Card): boolean {
  return PRIOR in (card.normalisation ?? {}) && card.state.some(({ name }) => name === STATE);
}

/** The profile in what lasts of a stream; null where the recogniser learns no voices, or nobody has spoken. */
export function profileOf(card: Card, state: State): VoiceProfile | null {
  const voice = state[STATE];
  if (!learnsVoices(card) || !voice?.some((value) => value !== 0)) return null;
  const { name: recognizer, digest } = card;
  return {
    format: FORMAT,
    recognizer,
    digest,
    prior: Number(card.normalisation?.[PRIOR]),
    voice: [...voice],
  };
}

/** The state to begin with; a profile of another recogniser is refused. */
export function stateOf(profile: VoiceProfile | null, card: Card): State {
  if (!profile) return {};
  const size = card.state.find(({ name }) => name === STATE)?.shape.reduce((product, n) => product * n, 1);
  if (profile.digest !== card.digest || profile.voice.length !== size) {
    throw new Error(
      `This voice was learned by ${profile.recognizer}, in another version or of another name.`,
    );
  }
  return { [STATE]: Float32Array.from(profile.voice) };
}

/** How far the voice is known: 0 not at all, near 1 after dozens of utterances. */
export function known({ voice, prior }: VoiceProfile): number {
  const utterances = (voice[0] ?? 0) + (voice[voice.length / 2] ?? 0);
  return utterances / (utterances + prior);
}

/** The same, where the newest utterance is known to express a label: enrolment with a neutral sentence. */
export function shownAs(profile: VoiceProfile, label: number): VoiceProfile {
  const numLabels = (profile.voice.length / 2 - 1) / 2;
  const from = profile.voice.length - numLabels;
  return {
    ...profile,
    voice: profile.voice.map((value, at) => (at < from ? value : Number(at - from === label))),
  };
}
