import { describe, expect, it } from "vitest";

import type { Card } from "../src/lib/device/card";
import { known, learnsVoices, profileOf, shownAs, stateOf } from "../src/lib/device/voice_profile";
import type { VoiceProfile } from "../src/lib/device/voice_profile";
import type { RecognizerCard } from "../src/lib/protocol";
import { Voice } from "../src/lib/voice.svelte";

/** Two labels: two halves of a count, two sums of logits, two of what was recognised. */
const card = {
  name: "toy",
  digest: "sha256:1",
  normalisation: { voice_prior: 5 },
  state: [{ name: "voice", shape: [10], scope: "stream" }],
} as unknown as Card;
const profile: VoiceProfile = {
  format: "vocaffect-voice-1",
  recognizer: "toy",
  digest: "sha256:1",
  prior: 5,
  voice: [14, 1, -1, 9, 5, 1, 0.5, 0.5, 0.25, 0.75],
};

describe("a voice profile", () => {
  it("is what lasts of a stream, where the recogniser learns voices", () => {
    expect(profileOf(card, { voice: Float32Array.from(profile.voice) })).toEqual(profile);
    expect(profileOf(card, { voice: new Float32Array(10) })).toBeNull();
    expect(learnsVoices({ ...card, normalisation: {} })).toBe(false);
    expect(profileOf({ ...card, normalisation: {} }, { voice: Float32Array.from(profile.voice) })).toBeNull();
  });

  it("fits its own recogniser only", () => {
    expect([...(stateOf(profile, card)["voice"] ?? [])]).toEqual(profile.voice);
    expect(stateOf(null, card)).toEqual({});
    expect(() => stateOf(profile, { ...card, digest: "sha256:2" })).toThrow("another version");
  });

  it("is known the better the more was said", () => {
    expect(known(profile)).toBe(0.75);
  });

  it("can be told what was said last", () => {
    expect(shownAs(profile, 0).voice).toEqual([14, 1, -1, 9, 5, 1, 0.5, 0.5, 1, 0]);
  });
});

describe("the user's voice", () => {
  function storage(): Storage {
    const kept = new Map<string, string>();
    return {
      getItem: (key: string) => kept.get(key) ?? null,
      setItem: (key: string, value: string) => void kept.set(key, value),
      removeItem: (key: string) => void kept.delete(key),
      get length() {
        return kept.size;
      },
    } as unknown as Storage;
  }

  const met = { digest: "sha256:1" } as RecognizerCard;

  it("is kept only where the user asks for it, and forgotten for good", () => {
    const store = storage();
    const voice = new Voice(store);
    voice.meet(met);
    voice.hear({ known: 0.75, profile });
    expect(store.length).toBe(0);
    voice.keep(true);
    voice.shown(0);
    const later = new Voice(store);
    later.meet(met);
    expect(later.profile).toEqual(shownAs(profile, 0));
    expect(later.known).toBe(0.75);
    later.forget();
    expect([store.length, later.profile, later.known]).toEqual([0, null, 0]);
  });

  it("says nothing to another recogniser", () => {
    const voice = new Voice(storage());
    voice.meet(met);
    voice.hear({ known: 0.75, profile });
    voice.meet({ digest: "sha256:2" } as RecognizerCard);
    expect([voice.profile, voice.known]).toEqual([null, null]);
  });
});
