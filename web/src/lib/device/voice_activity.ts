/** Where somebody speaks: the twin of `vocaffect.voice_activity`, held against it by tests/twins.test.ts. */

import { SAMPLE_RATE, concat } from "./units";

/** The network hears this many samples at a time, 32 ms. */
export const CHUNK = 512;
export const CONTEXT = 64;

const TARGET_DB = -32;
const MAX_GAIN_DB = 30;
const FALL_DB = 0.1;
const FLOOR_DB = -100;

/** When speech begins and ends; Python's `VoiceOptions` says what each number means. */
export const VOICE_OPTIONS = {
  onset: 0.5,
  offset: 0.35,
  loudOnset: 0.15,
  loudDb: -25,
  minSpeechS: 0.1,
  minSilenceS: 0.5,
};

export type VoiceOptions = typeof VOICE_OPTIONS;
export type Phase = "silence" | "onset" | "speech" | "pause";

/** The state machine: one `step` for each chunk of `CHUNK` samples, `speaking` between onset and end. */
export class VoiceActivity {
  phase: Phase = "silence";
  started = 0;
  ended = 0;
  #chunk = 0;
  #since = 0;
  #minSpeech: number;
  #minSilence: number;

  constructor(private readonly options: VoiceOptions) {
    this.#minSpeech = Math.ceil((options.minSpeechS * SAMPLE_RATE) / CHUNK);
    this.#minSilence = Math.ceil((options.minSilenceS * SAMPLE_RATE) / CHUNK);
  }

  get speaking(): boolean {
    return this.phase === "speech" || this.phase === "pause";
  }

  /** The sample up to which the speech that is going on has been heard; 0 in silence. */
  get spokenUntil(): number {
    if (!this.speaking) return 0;
    return (this.phase === "pause" ? this.#since : this.#chunk) * CHUNK;
  }

  /** How many samples before the last chunk's end `started` or `ended` may lie, at most. */
  get lookback(): number {
    return Math.max(this.#minSpeech, this.#minSilence) * CHUNK;
  }

  step(probability: number, levelDb: number): void {
    const { onset, offset, loudOnset, loudDb } = this.options;
    const voiced = probability >= (levelDb >= loudDb ? loudOnset : onset);
    this.#enter(voiced, voiced || probability >= offset);
    this.#chunk += 1;
    const length = this.#chunk - this.#since;
    if (this.phase === "onset" && length >= this.#minSpeech) {
      this.started = this.#since * CHUNK;
      this.phase = "speech";
    } else if (this.phase === "pause" && length >= this.#minSilence) {
      this.ended = this.#since * CHUNK;
      this.phase = "silence";
    }
  }

  /** The signal ends at this sample: whoever speaks ends here, or where the pause began. */
  finish(position: number): void {
    if (this.speaking) this.ended = this.phase === "pause" ? this.spokenUntil : position;
    this.phase = "silence";
  }

  #enter(voiced: boolean, held: boolean): void {
    if (this.phase === "silence" && voiced) {
      this.#since = this.#chunk;
      this.phase = "onset";
    } else if (this.phase === "onset" && !voiced) {
      this.phase = "silence";
    } else if (this.phase === "speech" && !held) {
      this.#since = this.#chunk;
      this.phase = "pause";
    } else if (this.phase === "pause" && voiced) {
      this.phase = "speech";
    }
  }
}

/** What is known before a chunk: CONTEXT samples, the network's state (2, 1, 128), and the loudest level. */
export interface Memory {
  context: Float32Array;
  state: Float32Array;
  loudestDb: number;
}

export function freshMemory(): Memory {
  return {
    context: new Float32Array(CONTEXT),
    state: new Float32Array(2 * 128),
    loudestDb: TARGET_DB - MAX_GAIN_DB,
  };
}

/** Context and chunk (CONTEXT + CHUNK,), quiet voices raised, and the loudest level with this chunk. */
export function raised(chunk: Float32Array, memory: Memory): { input: Float32Array; loudestDb: number } {
  const loudestDb = Math.max(memory.loudestDb - FALL_DB, 10 * Math.log10(Math.max(power(chunk), 1e-10)));
  const gain = 10 ** (Math.min(Math.max(TARGET_DB - loudestDb, 0), MAX_GAIN_DB) / 20);
  return { input: concat(memory.context, chunk).map((sample) => sample * gain), loudestDb };
}

/** The root mean square of samples in dB below full scale, -100 at least. */
export function levelDb(samples: Float32Array): number {
  const mean = samples.length > 0 ? power(samples) : 0;
  return mean > 0 ? Math.round(Math.max(FLOOR_DB, 10 * Math.log10(mean)) * 100) / 100 : FLOOR_DB;
}

function power(samples: Float32Array): number {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  return sum / samples.length;
}
