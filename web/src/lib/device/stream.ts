/** One live stream at 16 kHz on this device: the twin of `vocaffect.stream`, sample for sample. */

import type { Card } from "./card";
import { SAMPLE_RATE, concat, secondsToSamples } from "./units";
import { freshState, lastingState, openUtterance, softmax } from "./utterance";
import type { Decisions, Output, State, Utterance, Work } from "./utterance";
import { CHUNK, VOICE_OPTIONS, VoiceActivity, freshMemory, levelDb } from "./voice_activity";
import type { Memory } from "./voice_activity";
import { known, learnsVoices, profileOf, stateOf } from "./voice_profile";
import type { VoiceProfile } from "./voice_profile";

export const UPDATE_S = 0.1;
const TICK = secondsToSamples(UPDATE_S);

export const STREAM_OPTIONS = {
  ...VOICE_OPTIONS,
  preRollS: 0.2,
  postRollS: 0.1,
  maxSegmentS: 30,
  smoothingS: 0.3,
};

/** What computes: the voice-activity network and the recogniser's graph. */
export interface Networks {
  hear(chunk: Float32Array, memory: Memory): Promise<{ probability: number; memory: Memory }>;
  run(work: Work): Promise<Output>;
}

export interface EndedSegment {
  index: number;
  startS: number;
  endS: number;
  label: string;
  posterior: Float32Array;
  uncertain: boolean;
}

export interface StreamUpdate {
  timeS: number;
  speech: boolean;
  speechProbability: number;
  levelDb: number;
  /** The newest decision smoothed over time, whose largest is `label`, and as it is. */
  posterior: Float32Array | null;
  rawPosterior: Float32Array | null;
  label: string | null;
  /** The posterior's largest is below what the card asks for. */
  uncertain: boolean;
  segment: number | null;
  ended: EndedSegment | null;
  /** The features of the frames run in this tick, or of the newest window. */
  features: Float32Array[];
  featuresEndS: number;
  segmentStartS: number | null;
  voiceKnown: number | null;
}

interface OpenSegment {
  index: number;
  start: number;
  fed: number;
  utterance: Utterance;
  recent: Map<number, Float32Array>;
  newest: Float32Array | null;
  newestAt: number;
  smoothed: Float32Array | null;
  smoothedAt: number;
  lookback: number;
}

export class Stream {
  #voice: VoiceActivity;
  #memory: Memory = freshMemory();
  #probability = 0;
  #waiting: Float32Array = new Float32Array(0);
  #unheard: Float32Array = new Float32Array(0);
  #history: Float32Array = new Float32Array(0);
  #position = 0;
  #featuresEnd = 0;
  #keep: number;
  #lasting: State = {};
  #open: OpenSegment | null = null;
  #freeFrom = 0;
  #numSegments = 0;
  #finishing = false;
  #finished = false;

  constructor(
    private readonly card: Card,
    private readonly networks: Networks,
    private readonly options = STREAM_OPTIONS,
    voice: VoiceProfile | null = null,
  ) {
    this.#lasting = stateOf(voice, card);
    this.#voice = new VoiceActivity(options);
    this.#keep = secondsToSamples(options.preRollS) + this.#voice.lookback + CHUNK + TICK + card.hop;
  }

  /** What is known of the voice after the last segment that ended; null if nothing is. */
  get voice(): VoiceProfile | null {
    return profileOf(this.card, this.#lasting);
  }

  /** How far the voice is known, 0 to 1; null where the recogniser learns no voices. */
  get voiceKnown(): number | null {
    if (!learnsVoices(this.card)) return null;
    return this.voice ? known(this.voice) : 0;
  }

  /** Another voice speaks from here on, one that is known or, with null, a new one; the present segment included. */
  useVoice(voice: VoiceProfile | null): void {
    this.#lasting = stateOf(voice, this.card);
    if (!this.#open) return;
    const fresh = lastingState(this.card, freshState(this.card));
    const { utterance } = this.#open;
    utterance.state = { ...utterance.state, ...fresh, ...this.#lasting };
  }

  /** Take in more samples and return the updates they complete; calls must not overlap. */
  async push(samples: Float32Array): Promise<StreamUpdate[]> {
    this.#waiting = concat(this.#waiting, samples);
    return this.#ready();
  }

  /** End the stream: the last, shorter update, with the segment that was going on. */
  async finish(): Promise<StreamUpdate[]> {
    this.#finishing = true;
    return this.#ready();
  }

  async #ready(): Promise<StreamUpdate[]> {
    const updates: StreamUpdate[] = [];
    for (let size = this.#nextSize(); size !== null; size = this.#nextSize()) {
      const samples = this.#waiting.slice(0, size);
      this.#waiting = this.#waiting.slice(size);
      updates.push(await this.#tick(samples));
    }
    return updates;
  }

  #nextSize(): number | null {
    if (this.#waiting.length >= TICK) return TICK;
    if (!this.#finishing || this.#finished || (this.#waiting.length === 0 && !this.#open)) return null;
    this.#finished = true;
    return this.#waiting.length;
  }

  async #tick(samples: Float32Array): Promise<StreamUpdate> {
    this.#history = concat(this.#history, samples);
    this.#position += samples.length;
    await this.#listen(samples);
    if (!this.#open && this.#voice.spokenUntil >= this.#freeFrom + this.card.hop) this.#openSegment();
    if (this.#finished) this.#voice.finish(this.#position);
    let features: Float32Array[] = [];
    let ended: EndedSegment | null = null;
    if (this.#open) {
      const end = this.#segmentEnd(this.#open);
      features = await this.#run(this.#open, end ?? this.#position);
      if (end !== null) ended = await this.#close(this.#open, end);
    }
    this.#forget();
    return this.#update(samples, ended, features);
  }

  async #listen(samples: Float32Array): Promise<void> {
    this.#unheard = concat(this.#unheard, samples);
    while (this.#unheard.length >= CHUNK) {
      const chunk = this.#unheard.slice(0, CHUNK);
      this.#unheard = this.#unheard.slice(CHUNK);
      const heard = await this.networks.hear(chunk, this.#memory);
      this.#memory = heard.memory;
      this.#probability = heard.probability;
      this.#voice.step(heard.probability, levelDb(chunk));
    }
  }

  #openSegment(): void {
    const { hop } = this.card;
    const rolled = Math.max(0, this.#voice.started - secondsToSamples(this.options.preRollS));
    const start = Math.max(rolled - (rolled % hop), this.#freeFrom);
    const lookback = this.#voice.lookback + CHUNK + TICK;
    this.#open = {
      index: this.#numSegments,
      start,
      fed: start,
      utterance: openUtterance(this.card, this.#lasting, lookback),
      recent: new Map(),
      newest: null,
      newestAt: 0,
      smoothed: null,
      smoothedAt: 0,
      lookback: lookback + hop,
    };
    this.#numSegments += 1;
  }

  /** Where the segment ends, if that is known by now: a whole number of hops after its start. */
  #segmentEnd(segment: OpenSegment): number | null {
    let end: number;
    if (this.#voice.speaking) {
      if (this.#position - segment.start < secondsToSamples(this.options.maxSegmentS)) return null;
      end = this.#position;
    } else {
      end = Math.min(this.#voice.ended + secondsToSamples(this.options.postRollS), this.#position);
    }
    return end - ((end - segment.start) % this.card.hop);
  }

  async #run(segment: OpenSegment, until: number): Promise<Float32Array[]> {
    const first = this.#history.length - this.#position;
    const fed = Math.max(until, segment.fed);
    const samples = this.#history.slice(first + segment.fed, first + fed);
    segment.fed = fed;
    const decisions = await this.#decide(segment, segment.utterance.plan(samples));
    this.#featuresEnd = segment.start + (decisions?.positions.at(-1) ?? this.#featuresEnd - segment.start);
    return decisions?.features ?? [];
  }

  async #close(segment: OpenSegment, end: number): Promise<EndedSegment> {
    const length = end - segment.start;
    await this.#decide(segment, segment.utterance.planEnd(length));
    const logits = segment.recent.get(length);
    if (!logits) throw new Error("a segment ended where nothing was decided");
    const posterior = softmax(logits, this.card.temperature);
    this.#lasting = lastingState(this.card, segment.utterance.state);
    this.#open = null;
    this.#freeFrom = end;
    return {
      index: segment.index,
      startS: segment.start / SAMPLE_RATE,
      endS: end / SAMPLE_RATE,
      label: this.#label(posterior),
      posterior,
      uncertain: this.#isUncertain(posterior),
    };
  }

  async #decide(segment: OpenSegment, work: Work | null): Promise<Decisions | null> {
    if (!work) return null;
    const decisions = segment.utterance.complete(await this.networks.run(work));
    decisions.positions.forEach((position, index) => {
      const logits = decisions.logits[index];
      if (logits) segment.recent.set(position, logits);
    });
    segment.newest = decisions.logits.at(-1) ?? segment.newest;
    segment.newestAt = decisions.positions.at(-1) ?? segment.newestAt;
    const oldest = segment.newestAt - segment.lookback;
    for (const position of segment.recent.keys()) if (position < oldest) segment.recent.delete(position);
    return decisions;
  }

  #forget(): void {
    const first = this.#position - this.#history.length;
    let needed = this.#position - this.#keep;
    if (this.#open) needed = Math.min(needed, this.#open.fed);
    this.#history = this.#history.slice(Math.max(needed - first, 0));
  }

  #update(samples: Float32Array, ended: EndedSegment | null, features: Float32Array[]): StreamUpdate {
    const rawPosterior = this.#open?.newest ? softmax(this.#open.newest, this.card.temperature) : null;
    const posterior = this.#open && rawPosterior ? this.#smooth(this.#open, rawPosterior) : null;
    return {
      timeS: this.#position / SAMPLE_RATE,
      speech: this.#open !== null,
      speechProbability: this.#probability,
      levelDb: levelDb(samples),
      posterior,
      rawPosterior,
      label: posterior && this.#label(posterior),
      uncertain: posterior !== null && this.#isUncertain(posterior),
      segment: this.#open?.index ?? null,
      ended,
      features,
      featuresEndS: this.#featuresEnd / SAMPLE_RATE,
      segmentStartS: this.#open ? this.#open.start / SAMPLE_RATE : null,
      voiceKnown: this.voiceKnown,
    };
  }

  #smooth(segment: OpenSegment, newest: Float32Array): Float32Array {
    const tau = this.options.smoothingS;
    const before = segment.smoothed;
    const elapsedS = (segment.newestAt - segment.smoothedAt) / SAMPLE_RATE;
    const weight = tau > 0 && before ? 1 - Math.exp(-elapsedS / tau) : 1;
    segment.smoothedAt = segment.newestAt;
    segment.smoothed = newest.map(
      (value, index) => (before?.[index] ?? 0) + weight * (value - (before?.[index] ?? 0)),
    );
    return segment.smoothed;
  }

  #isUncertain(posterior: Float32Array): boolean {
    return Math.max(...posterior) < (this.card.uncertain_below ?? 0);
  }

  #label(posterior: Float32Array): string {
    return this.card.labels[posterior.indexOf(Math.max(...posterior))] ?? "";
  }
}
