/** A conversation with a recogniser on this device: the bundle runs in a worker, and no sound leaves the page. */

import { Failure } from "../failure";
import type { Conversation, Listener, Side } from "../conversation";
import type { FromWorker, ToWorker } from "./messages";
import { SAMPLE_RATE } from "./units";
import type { VoiceProfile } from "./voice_profile";

const ROOM_SAMPLES = 4 * SAMPLE_RATE;

/** One worker for as long as the page is open; it is made when it is first needed. */
let worker: Worker | null = null;
let newest = 0;
const conversations = new Map<number, DeviceConversation>();

export class DeviceConversation implements Conversation {
  #waiting = 0;
  #made: (() => void)[] = [];
  #opened: { resolve(): void; reject(reason: Failure): void } | null = null;

  private constructor(
    private readonly id: number,
    private readonly listener: Listener,
  ) {}

  /** Load and check what is needed, so that the first conversation begins at once, with or without a network. */
  static async prepare(side: Side): Promise<void> {
    const conversation = await DeviceConversation.open(
      side,
      SAMPLE_RATE,
      { message() {}, closed() {} },
      null,
    );
    conversation.abort();
  }

  static async open(
    side: Side,
    sampleRate: number,
    listener: Listener,
    voice: VoiceProfile | null,
  ): Promise<DeviceConversation> {
    if (sampleRate !== SAMPLE_RATE) {
      throw new Failure(
        "This browser does not record at 16 kHz, which recognisers on the device need; use the server.",
      );
    }
    newest += 1;
    const conversation = new DeviceConversation(newest, listener);
    conversations.set(newest, conversation);
    await new Promise<void>((resolve, reject) => {
      conversation.#opened = { resolve, reject };
      const { bundle_url: bundleUrl, digest } = side.card;
      conversation.#post({
        type: "open",
        id: conversation.id,
        bundleUrl,
        digest,
        voiceUrl: side.voiceUrl,
        voice,
      });
    });
    return conversation;
  }

  useVoice(voice: VoiceProfile | null): void {
    this.#post({ type: "voice", id: this.id, voice });
  }

  send(samples: Int16Array): void {
    this.#waiting += samples.length;
    this.#post({ type: "samples", id: this.id, samples });
  }

  async room(): Promise<void> {
    if (this.#waiting > ROOM_SAMPLES) await new Promise<void>((resolve) => this.#made.push(resolve));
  }

  end(): void {
    this.#post({ type: "end", id: this.id });
  }

  abort(): void {
    conversations.delete(this.id);
    this.#post({ type: "abort", id: this.id });
  }

  receive(message: FromWorker): void {
    switch (message.type) {
      case "ready":
        this.#opened?.resolve();
        this.#opened = null;
        break;
      case "heard":
        this.listener.message(message.message);
        if (message.message.type === "summary") this.#over();
        break;
      case "voice":
        this.listener.voice?.(message.heard);
        break;
      case "used":
        this.#waiting -= message.numSamples;
        if (this.#waiting <= ROOM_SAMPLES) this.#made.splice(0).forEach((resolve) => resolve());
        break;
      case "failed":
        this.#over(new Failure(message.message));
        break;
    }
  }

  #over(failure?: Failure): void {
    conversations.delete(this.id);
    this.#made.splice(0).forEach((resolve) => resolve());
    if (failure && this.#opened) this.#opened.reject(failure);
    else this.listener.closed(failure);
  }

  #post(message: ToWorker): void {
    worker ??= start();
    worker.postMessage(message);
  }
}

function start(): Worker {
  const started = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  started.onmessage = ({ data }: MessageEvent<FromWorker>) => conversations.get(data.id)?.receive(data);
  started.onerror = (event) => {
    worker = null;
    const message = `The recogniser on this device stopped (${event.message || "it could not be loaded"}).`;
    for (const [id, conversation] of conversations) conversation.receive({ type: "failed", id, message });
  };
  return started;
}
