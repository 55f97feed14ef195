/** The microphone as a stream of mono float32 chunks, untouched by the browser's voice processing. */

import workletUrl from "./capture.worklet.ts?worker&url";

/** What the server works at; capturing at this rate leaves nothing to resample. */
const WANTED_RATE_HZ = 16_000;
const CHUNK_S = 0.05;

const CONSTRAINTS: MediaTrackConstraints = {
  channelCount: 1,
  echoCancellation: false,
  noiseSuppression: false,
  autoGainControl: false,
};

export interface Microphone {
  sampleRate: number;
  /** Chunks go to `onChunk` from now on. */
  listen(onChunk: (samples: Float32Array) => void, onEnded: () => void): Promise<void>;
  close(): Promise<void>;
}

/** The microphones there are; their names are known once a page may use one of them. */
export async function listMicrophones(): Promise<MediaDeviceInfo[]> {
  if (!("mediaDevices" in navigator)) return [];
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices.filter(({ kind, deviceId }) => kind === "audioinput" && !["", "default"].includes(deviceId));
}

export async function openMicrophone(deviceId: string | null): Promise<Microphone> {
  if (!("mediaDevices" in navigator)) {
    throw new Error(
      "Browsers give a page the microphone only on localhost or over https; open this page there.",
    );
  }
  let media: MediaStream;
  try {
    media = await navigator.mediaDevices.getUserMedia({
      audio: deviceId ? { ...CONSTRAINTS, deviceId: { exact: deviceId } } : CONSTRAINTS,
    });
  } catch (error) {
    throw new Error(explain(error));
  }
  const { context, source } = connect(media);

  return {
    sampleRate: context.sampleRate,
    async listen(onChunk, onEnded) {
      await context.audioWorklet.addModule(workletUrl);
      const chunkSamples = Math.round(context.sampleRate * CHUNK_S);
      const node = new AudioWorkletNode(context, "capture", {
        channelCount: 1,
        channelCountMode: "explicit",
        processorOptions: { chunkSamples },
      });
      node.port.onmessage = (event: MessageEvent<Float32Array>) => onChunk(event.data);
      media.getAudioTracks().forEach((track) => track.addEventListener("ended", onEnded));
      source.connect(node).connect(context.destination); // the node's output is silence
      await context.resume();
    },
    async close() {
      media.getTracks().forEach((track) => track.stop());
      await context.close();
    },
  };
}

/** Some browsers refuse a context whose rate differs from the microphone's; then the server resamples. */
function connect(media: MediaStream): { context: AudioContext; source: MediaStreamAudioSourceNode } {
  const wanted = new AudioContext({ sampleRate: WANTED_RATE_HZ });
  try {
    return { context: wanted, source: wanted.createMediaStreamSource(media) };
  } catch {
    void wanted.close();
    const context = new AudioContext();
    return { context, source: context.createMediaStreamSource(media) };
  }
}

function explain(error: unknown): string {
  switch (error instanceof DOMException ? error.name : "") {
    case "NotAllowedError":
      return "The microphone is blocked for this page; allow it beside the address bar, then start again.";
    case "NotFoundError":
      return "There is no microphone; plug one in, or open a file instead.";
    case "OverconstrainedError":
      return "That microphone is gone; choose another one.";
    case "NotReadableError":
      return "The microphone is in use by another program; close that, then start again.";
    default:
      return `The microphone cannot be opened (${String(error)}).`;
  }
}
