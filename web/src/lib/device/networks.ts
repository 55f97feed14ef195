/** A bundle and the voice-activity network in onnxruntime's WebAssembly, on one thread. */

import * as ort from "onnxruntime-web/wasm";

import { goldenSignal, unseal } from "./card";
import type { Card } from "./card";
import type { Networks } from "./stream";
import { SAMPLE_RATE, concat, secondsToSamples } from "./units";
import { freshState, softmax } from "./utterance";
import type { Output, State, Work } from "./utterance";
import { CONTEXT, raised } from "./voice_activity";
import type { Memory } from "./voice_activity";

ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";

export function openSession(model: ArrayBuffer): Promise<ort.InferenceSession> {
  return ort.InferenceSession.create(new Uint8Array(model), {
    executionProviders: ["wasm"],
    logSeverityLevel: 3,
  });
}

export class OnnxNetworks implements Networks {
  private constructor(
    readonly card: Card,
    private readonly graph: ort.InferenceSession,
    private readonly voice: ort.InferenceSession,
  ) {}

  /** Open a bundle beside the voice-activity network; one that is damaged or does not answer its golden signal is refused. */
  static async open(bundle: ArrayBuffer, voice: ort.InferenceSession): Promise<OnnxNetworks> {
    const card = await unseal(new Uint8Array(bundle));
    const networks = new OnnxNetworks(card, await openSession(bundle), voice);
    await networks.#checkGolden();
    return networks;
  }

  async hear(chunk: Float32Array, memory: Memory): Promise<{ probability: number; memory: Memory }> {
    const { input, loudestDb } = raised(chunk, memory);
    const answer = await this.voice.run({
      input: new ort.Tensor("float32", input, [1, input.length]),
      state: new ort.Tensor("float32", memory.state, [2, 1, 128]),
      sr: new ort.Tensor("int64", BigInt64Array.of(BigInt(SAMPLE_RATE)), []),
    });
    return {
      probability: floats(answer["output"])[0] ?? 0,
      memory: { context: chunk.slice(-CONTEXT), state: floats(answer["stateN"]), loudestDb },
    };
  }

  async run(work: Work): Promise<Output> {
    const feeds: Record<string, ort.Tensor> = {
      samples: new ort.Tensor("float32", work.samples, [work.rows, work.samples.length / work.rows]),
    };
    for (const { name, shape } of this.card.state) {
      feeds[`state.${name}`] = new ort.Tensor("float32", work.state[name] as Float32Array, [
        work.rows,
        ...shape,
      ]);
    }
    const answer = await this.graph.run(feeds);
    const state: State = {};
    for (const { name } of this.card.state) state[name] = floats(answer[`next_state.${name}`]);
    const features = answer["features"];
    return {
      logits: floats(answer["logits"]),
      features: floats(features),
      numFeatures: features?.dims.at(-1) ?? 0,
      state,
    };
  }

  async #checkGolden(): Promise<void> {
    const { golden, hop, labels, streaming, temperature } = this.card;
    const signal = goldenSignal(golden.seconds);
    const { logits } = await this.run({
      samples:
        streaming === "window"
          ? lastWindow(signal, secondsToSamples(this.card.window_s ?? 0))
          : signal.slice(0, signal.length - (signal.length % hop)),
      rows: 1,
      state: freshState(this.card),
    });
    const posterior = softmax(logits.slice(-labels.length), temperature);
    const off = Math.max(
      ...posterior.map((value, index) => Math.abs(value - (golden.posterior[index] ?? 0))),
    );
    if (!(off <= Math.max(golden.tolerance, 1e-3))) {
      throw new Error(
        `This browser computes the recogniser wrongly (off by ${off.toPrecision(2)}); use the server.`,
      );
    }
  }
}

function lastWindow(signal: Float32Array, size: number): Float32Array {
  const last = signal.slice(-size);
  return concat(new Float32Array(size - last.length), last);
}

function floats(tensor: ort.Tensor | undefined): Float32Array {
  if (!(tensor?.data instanceof Float32Array)) throw new Error("the recogniser's graph lacks an output");
  return tensor.data;
}
