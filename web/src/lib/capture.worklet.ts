/** Runs on the audio thread: gathers the microphone's 128-sample blocks into chunks and posts them. */

declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, processor: new (options: CaptureOptions) => object): void;

interface CaptureOptions {
  processorOptions: { chunkSamples: number };
}

class Capture extends AudioWorkletProcessor {
  #chunk: Float32Array;
  #filled = 0;

  constructor(options: CaptureOptions) {
    super();
    this.#chunk = new Float32Array(options.processorOptions.chunkSamples);
  }

  process(inputs: Float32Array[][]): boolean {
    let block = inputs[0]?.[0] ?? new Float32Array(0);
    while (block.length > 0) {
      const part = block.subarray(0, this.#chunk.length - this.#filled);
      this.#chunk.set(part, this.#filled);
      this.#filled += part.length;
      block = block.subarray(part.length);
      if (this.#filled === this.#chunk.length) {
        this.port.postMessage(this.#chunk.slice());
        this.#filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("capture", Capture);

export {};
