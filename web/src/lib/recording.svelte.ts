/** What the page knows about the sound before it: live from the microphone, or a file that was analysed. */

import { openMicrophone } from "./capture";
import type { Microphone } from "./capture";
import { LiveStream, recognizeFile } from "./client";
import type { Listener } from "./client";
import type { Segment, Update } from "./protocol";
import { PeakMeter, toInt16 } from "./samples";

export type Phase = "idle" | "starting" | "listening" | "finishing" | "analysing" | "done";

const PEAK_S = 0.02;

export class Recording {
  phase = $state<Phase>("idle");
  error = $state<string | null>(null);
  segments = $state.raw<Segment[]>([]);
  /** The newest update. */
  latest = $state.raw<Update | null>(null);
  /** The clip as a whole, once a file is analysed. */
  whole = $state.raw<{ label: string | null; posterior: number[] | null } | null>(null);
  file = $state.raw<File | null>(null);
  durationS = $state(0);

  /** Long and only appended to: read them after reading `durationS`, which changes with them. */
  updates: Update[] = [];
  peaks: number[] = [];
  peakS = PEAK_S;

  #microphone: Microphone | null = null;
  #stream: LiveStream | null = null;

  get busy(): boolean {
    return !["idle", "done"].includes(this.phase);
  }

  async startMicrophone(recognizer: string): Promise<void> {
    this.#clear("starting");
    try {
      const microphone = await openMicrophone();
      this.#microphone = microphone;
      const sampleRate = microphone.sampleRate;
      const stream = await LiveStream.open(
        { sample_rate: sampleRate, format: "int16", recognizer },
        { message: (message) => this.#receive(message), closed: (error) => this.#closed(error) },
      );
      this.#stream = stream;
      const meter = new PeakMeter(Math.round(sampleRate * PEAK_S));
      await microphone.listen(
        (samples) => {
          stream.send(toInt16(samples));
          this.peaks.push(...meter.push(samples));
          this.durationS = this.peaks.length * PEAK_S;
        },
        () => void this.stop(),
      );
      this.phase = "listening";
    } catch (error) {
      this.#stream?.abort();
      this.#closed((error as Error).message);
    }
  }

  /** Close the microphone and wait for the server's last word. */
  async stop(): Promise<void> {
    if (this.phase !== "listening") return;
    this.phase = "finishing";
    await this.#microphone?.close();
    this.#microphone = null;
    this.#stream?.end();
  }

  async analyse(file: File, recognizer: string, labels: string[]): Promise<void> {
    this.#clear("analysing");
    try {
      const answer = await recognizeFile(file, recognizer);
      this.updates = answer.trace?.updates ?? [];
      this.peaks = answer.trace?.peaks ?? [];
      this.peakS = answer.trace?.peak_s ?? PEAK_S;
      this.segments = answer.segments;
      const posterior = answer.posterior;
      this.whole = {
        label: answer.label,
        posterior: posterior && labels.map((label) => posterior[label] ?? 0),
      };
      this.file = file;
      this.durationS = answer.duration_s;
      this.phase = "done";
    } catch (error) {
      this.#closed((error as Error).message);
    }
  }

  /** The update in force at a time, if the recording reaches that far. */
  at(timeS: number): Update | null {
    return this.updates.find((update) => update.time_s >= timeS) ?? this.updates.at(-1) ?? null;
  }

  #receive(message: Parameters<Listener["message"]>[0]): void {
    switch (message.type) {
      case "update":
        this.updates.push(message);
        this.latest = message;
        break;
      case "segment":
        this.segments = [...this.segments, message];
        break;
      case "summary":
        this.durationS = message.duration_s;
        break;
    }
  }

  #closed(error?: string): void {
    void this.#microphone?.close();
    this.#microphone = null;
    this.#stream = null;
    this.latest = null;
    this.error = error ?? null;
    this.phase = this.durationS > 0 ? "done" : "idle";
  }

  #clear(phase: Phase): void {
    this.error = null;
    this.segments = [];
    this.latest = null;
    this.whole = null;
    this.file = null;
    this.durationS = 0;
    this.updates = [];
    this.peaks = [];
    this.peakS = PEAK_S;
    this.phase = phase;
  }
}
