/** A recording, live from the microphone or from a file, and what one recogniser or two say of it. */

import { decodeFile } from "./audio_file";
import { openMicrophone } from "./capture";
import type { Microphone } from "./capture";
import { recognizeFile } from "./client";
import { converse } from "./conversation";
import type { Conversation, Heard, Side } from "./conversation";
import { Failure } from "./failure";
import type { Recognition } from "./protocol";
import { PeakMeter, toInt16 } from "./samples";
import { Sound } from "./sound";
import { Take } from "./take.svelte";
import type { Voice } from "./voice.svelte";

export type Phase = "idle" | "starting" | "listening" | "reconnecting" | "finishing" | "analysing" | "done";

/** How far a file has come: 0 to 1 in each step, counted and never guessed. */
export interface Progress {
  /** "decode": the browser reads it; "stream": samples flow; "upload": the server decodes it. */
  way: "decode" | "stream" | "upload";
  totalS: number;
  upload: number;
  preprocessing: number;
  features: number;
  inference: number;
}

const NO_PROGRESS: Progress = {
  way: "decode",
  totalS: 0,
  upload: 0,
  preprocessing: 0,
  features: 0,
  inference: 0,
};

export const PEAK_S = 0.02;
const RATE_HZ = 16_000;
const FILE_CHUNK_S = 0.5;
const RETRY_MS = [300, 700, 1500, 3000];

export class Recording {
  phase = $state<Phase>("idle");
  error = $state<string | null>(null);
  takes = $state.raw<Take[]>([]);
  durationS = $state(0);
  progress = $state.raw<Progress | null>(null);
  /** What it is called, and what a player can load; once it is over. */
  name = $state("");
  playable = $state.raw<Blob | null>(null);
  levelDb = $state(-100);

  /** Long and only appended to: read them after reading `durationS`, which changes with them. */
  peaks: number[] = [];
  sound: Sound | null = null;

  #meter = new PeakMeter(Math.round(RATE_HZ * PEAK_S));
  #microphone: Microphone | null = null;
  #conversations: Conversation[] = [];
  #open = 0;
  #voice: Voice | null = null;
  /** Which recording this is: what belongs to one before it is not listened to any more. */
  #turn = 0;

  get busy(): boolean {
    return this.phase !== "idle" && this.phase !== "done";
  }

  /** `voice` is whose voice is heard; what is learned of it goes there. */
  async startMicrophone(sides: Side[], deviceId: string | null, voice: Voice | null = null): Promise<void> {
    const turn = this.#begin("starting", sides);
    this.#voice = voice;
    try {
      const microphone = await openMicrophone(deviceId);
      this.#microphone = microphone;
      this.#hear(microphone.sampleRate);
      await this.#connect(microphone.sampleRate, turn);
      await microphone.listen(
        (samples) => this.#listen(samples),
        () => void this.stop(),
      );
      if (turn === this.#turn) this.phase = "listening";
    } catch (error) {
      if (turn === this.#turn) this.#fail((error as Error).message);
    }
  }

  /** Close the microphone and wait for the last word about what was heard. */
  async stop(): Promise<void> {
    if (this.phase !== "listening" && this.phase !== "reconnecting") return;
    const connected = this.phase === "listening";
    this.phase = "finishing";
    await this.#closeMicrophone();
    if (connected) this.#conversations.forEach((conversation) => conversation.end());
    else this.#finish();
  }

  async analyse(file: File, sides: Side[]): Promise<void> {
    const turn = this.#begin("analysing", sides);
    this.name = file.name;
    this.progress = NO_PROGRESS;
    try {
      const samples = await decodeFile(file);
      if (turn !== this.#turn) return;
      this.playable = file;
      if (samples) await this.#stream(samples, turn);
      else await this.#upload(file, sides);
    } catch (error) {
      if (turn === this.#turn) this.#fail((error as Error).message);
    }
  }

  /** What is heard from here on is said by a voice that nothing is known of. */
  forgetVoice(): void {
    this.#conversations.forEach((conversation) => conversation.useVoice(null));
  }

  async #stream(samples: Float32Array, turn: number): Promise<void> {
    const totalS = samples.length / RATE_HZ;
    this.#hear(RATE_HZ);
    this.progress = { ...NO_PROGRESS, way: "stream", totalS };
    await this.#connect(RATE_HZ, turn);
    const size = FILE_CHUNK_S * RATE_HZ;
    for (let at = 0; at < samples.length && turn === this.#turn && this.#open > 0; at += size) {
      const chunk = samples.slice(at, at + size);
      this.#take(chunk);
      await Promise.all(this.#conversations.map((conversation) => conversation.room()));
      this.#advance({ upload: Math.min(1, (at + size) / samples.length) });
    }
    if (turn === this.#turn) this.#conversations.forEach((conversation) => conversation.end());
  }

  /** For what this browser cannot decode; a recogniser on this device cannot help there. */
  async #upload(file: File, sides: Side[]): Promise<void> {
    if (sides.some(({ place }) => place === "device")) {
      throw new Failure(
        `This browser cannot read ${file.name}; switch to the server, which may, or convert it to WAV.`,
      );
    }
    this.progress = { ...NO_PROGRESS, way: "upload" };
    const answers = await Promise.all(
      sides.map(({ card }) =>
        recognizeFile(file, card.name, (step, done) => this.#advance({ [step]: done })),
      ),
    );
    answers.forEach((answer, index) => this.#fill(this.takes[index], answer));
    this.#finish();
  }

  #advance(further: Partial<Progress>): void {
    if (this.progress) this.progress = { ...this.progress, ...further };
  }

  #receive(take: Take, message: Heard): void {
    take.receive(message);
    if (message.type !== "update" || this.progress?.way !== "stream" || take !== this.takes[0]) return;
    // Up to here the sound was resampled and searched for voices, and features and decisions are there.
    const heard = Math.min(1, take.heardS / this.progress.totalS);
    this.#advance({ preprocessing: heard, features: heard, inference: heard });
  }

  #fill(take: Take | undefined, answer: Recognition): void {
    answer.trace?.updates.forEach((update) => take?.receive(update));
    answer.segments.forEach((segment) => take?.receive(segment));
    this.peaks = answer.trace?.peaks ?? [];
    this.durationS = answer.duration_s;
  }

  /** The sound arrives at this rate. */
  #hear(sampleRate: number): void {
    this.#meter = new PeakMeter(Math.round(sampleRate * PEAK_S));
    this.sound = new Sound(sampleRate);
  }

  #listen(samples: Float32Array): void {
    if (this.phase === "finishing") return;
    this.#take(samples, this.phase === "listening");
  }

  #take(samples: Float32Array, connected = true): void {
    const pcm = toInt16(samples);
    const peaks = this.#meter.push(samples);
    this.peaks.push(...peaks);
    this.sound?.push(pcm);
    this.durationS = this.peaks.length * PEAK_S;
    this.levelDb = 20 * Math.log10(Math.max(1e-5, ...peaks));
    if (!connected) return;
    this.#conversations.forEach((conversation) => conversation.send(pcm));
    this.takes.forEach((take) => take.handed(samples.length / (this.sound?.sampleRate ?? RATE_HZ)));
  }

  async #connect(sampleRate: number, turn: number): Promise<void> {
    const opened = await Promise.all(
      this.takes.map((take) =>
        converse(
          take.side,
          sampleRate,
          {
            message: (message) => turn === this.#turn && this.#receive(take, message),
            voice: (heard) => turn === this.#turn && this.#voice?.hear(heard),
            closed: (failure) => turn === this.#turn && this.#closed(failure, turn),
          },
          this.#voice?.profile ?? null,
        ),
      ),
    );
    if (turn !== this.#turn) {
      opened.forEach((conversation) => conversation.abort());
      return;
    }
    this.#conversations = opened;
    this.#open = opened.length;
  }

  #closed(failure: Failure | undefined, turn: number): void {
    if (failure?.gone && this.phase === "listening") {
      void this.#reconnect(turn);
      return;
    }
    if (failure) {
      this.#fail(failure.message);
      return;
    }
    this.#open -= 1;
    if (this.#open === 0) this.#finish();
  }

  /** Keep the microphone, and go on as soon as the server is back; what is said meanwhile is not recognised. */
  async #reconnect(turn: number): Promise<void> {
    this.phase = "reconnecting";
    this.#conversations.forEach((conversation) => conversation.abort());
    this.takes.forEach((take) => take.pause());
    for (let attempt = 0; this.phase === "reconnecting" && turn === this.#turn; attempt += 1) {
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)]));
      if (this.phase !== "reconnecting" || turn !== this.#turn) return;
      try {
        await this.#connect(this.sound?.sampleRate ?? RATE_HZ, turn);
        if (this.phase !== "reconnecting") return;
        this.takes.forEach((take) => take.goOnFrom(this.durationS));
        this.phase = "listening";
      } catch (error) {
        if (!(error instanceof Failure && error.gone)) this.#fail((error as Error).message);
      }
    }
  }

  #fail(message: string): void {
    this.#conversations.forEach((conversation) => conversation.abort());
    void this.#closeMicrophone();
    this.error = message;
    this.#finish();
  }

  #finish(): void {
    this.#conversations = [];
    this.takes.forEach((take) => take.pause());
    if (this.sound && !this.playable && this.durationS > 0) this.playable = this.sound.blob();
    this.levelDb = -100;
    this.phase = this.durationS > 0 ? "done" : "idle";
  }

  async #closeMicrophone(): Promise<void> {
    const microphone = this.#microphone;
    this.#microphone = null;
    await microphone?.close();
  }

  #begin(phase: Phase, sides: Side[]): number {
    this.#conversations.forEach((conversation) => conversation.abort());
    void this.#closeMicrophone();
    this.#conversations = [];
    this.error = this.progress = this.playable = this.sound = null;
    this.takes = sides.map((side) => new Take(side));
    this.#voice = null;
    this.peaks = [];
    this.durationS = 0;
    this.name = "";
    this.phase = phase;
    return (this.#turn += 1);
  }
}
