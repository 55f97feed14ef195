/** Runs recognisers off the page's thread; every conversation is computed in the order of its samples. */

import type { Heard } from "../conversation";
import { fetchKept } from "./kept";
import type { FromWorker, ToWorker } from "./messages";
import { OnnxNetworks, openSession } from "./networks";
import { Replies } from "./replies";
import { Stream } from "./stream";

interface Running {
  stream: Stream;
  replies: Replies;
}

/** Opened once, by the digest of the bundle; many conversations may share one. */
const opened = new Map<string, OnnxNetworks>();
let voice: Awaited<ReturnType<typeof openSession>> | null = null;
const running = new Map<number, Running>();
let queue: Promise<void> = Promise.resolve();

self.onmessage = ({ data }: MessageEvent<ToWorker>) => {
  queue = queue.then(() => answer(data)).catch((error: unknown) => fail(data.id, error));
};

async function answer(message: ToWorker): Promise<void> {
  const { id } = message;
  if (message.type === "open") {
    const networks =
      opened.get(message.digest) ?? (await load(message.bundleUrl, message.digest, message.voiceUrl));
    running.set(id, {
      stream: new Stream(networks.card, networks, undefined, message.voice),
      replies: new Replies(networks.card),
    });
    post({ type: "ready", id });
    tellVoice(id);
    return;
  }
  const now = running.get(id);
  if (!now) return;
  if (message.type === "voice") {
    now.stream.useVoice(message.voice);
    tellVoice(id);
    return;
  }
  if (message.type === "samples") {
    const samples = Float32Array.from(message.samples, (sample) => sample / 32768);
    tell(id, now.replies.of(await now.stream.push(samples)));
    post({ type: "used", id, numSamples: samples.length });
    return;
  }
  if (message.type === "end") tell(id, [...now.replies.of(await now.stream.finish()), now.replies.summary()]);
  running.delete(id);
}

async function load(bundleUrl: string, digest: string, voiceUrl: string): Promise<OnnxNetworks> {
  voice ??= await openSession(await fetchKept(voiceUrl, "1"));
  const networks = await OnnxNetworks.open(await fetchKept(bundleUrl, digest), voice);
  opened.set(digest, networks);
  return networks;
}

function tell(id: number, messages: Heard[]): void {
  if (messages.some(({ type }) => type === "segment")) tellVoice(id);
  for (const message of messages) post({ type: "heard", id, message });
}

function tellVoice(id: number): void {
  const stream = running.get(id)?.stream;
  const known = stream?.voiceKnown ?? null;
  if (stream && known !== null) post({ type: "voice", id, heard: { known, profile: stream.voice } });
}

function fail(id: number, error: unknown): void {
  running.delete(id);
  post({ type: "failed", id, message: error instanceof Error ? error.message : String(error) });
}

function post(message: FromWorker): void {
  self.postMessage(message);
}
