/** A conversation with a recogniser, wherever it runs: samples go out, the protocol's messages come back. */

import { ServerConversation } from "./client";
import type { VoiceProfile } from "./device/voice_profile";
import type { Failure } from "./failure";
import type { RecognizerCard, Segment, Summary, Update } from "./protocol";
import type { VoiceHeard } from "./voice.svelte";

export type Place = "server" | "device";

/** Which recogniser, and where it runs. */
export interface Side {
  card: RecognizerCard;
  place: Place;
  /** Where the voice-activity network lies, for recognising on this device. */
  voiceUrl: string;
}

export type Heard = Update | Segment | Summary;

export interface Listener {
  message(message: Heard): void;
  /** What is known of the voice, where the recogniser learns voices: at the beginning and after each passage. */
  voice?(heard: VoiceHeard): void;
  /** Called once, and last: without a failure after a proper end, with one after anything else. */
  closed(failure?: Failure): void;
}

export interface Conversation {
  /** Hand over mono samples, in 16 bits at the rate that was said at the beginning. */
  send(samples: Int16Array): void;
  /** Resolves when what was handed over is nearly used up, so that a long file does not pile up. */
  room(): Promise<void>;
  /** No more samples: the last updates, a summary and `closed` follow. */
  end(): void;
  /** Another voice speaks from here on: one that is known or, with null, a new one. */
  useVoice(voice: VoiceProfile | null): void;
  /** Leave without a word; the listener hears nothing more. */
  abort(): void;
}

export async function converse(
  side: Side,
  sampleRate: number,
  listener: Listener,
  voice: VoiceProfile | null,
): Promise<Conversation> {
  if (side.place === "server") {
    return ServerConversation.open(side.card, sampleRate, listener, voice);
  }
  const { DeviceConversation } = await import("./device/conversation");
  return DeviceConversation.open(side, sampleRate, listener, voice);
}
