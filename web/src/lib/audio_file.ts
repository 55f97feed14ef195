/** A file as mono samples at 16 kHz, decoded by the browser; null where it cannot. */

const RATE_HZ = 16_000;

export async function decodeFile(file: Blob): Promise<Float32Array | null> {
  const context = new OfflineAudioContext(1, 1, RATE_HZ);
  let decoded: AudioBuffer;
  try {
    decoded = await context.decodeAudioData(await file.arrayBuffer());
  } catch {
    return null;
  }
  const channels = Array.from({ length: decoded.numberOfChannels }, (_, k) => decoded.getChannelData(k));
  const [first] = channels;
  if (channels.length === 1 && first) return first;
  return Float32Array.from({ length: decoded.length }, (_, at) => {
    return channels.reduce((sum, channel) => sum + (channel[at] ?? 0), 0) / channels.length;
  });
}
