/** A bundle's card, read from its bytes: docs/bundle.md says where it lies and how it is sealed. */

/** What running a bundle needs of its card. */
export interface Card {
  format_version: number;
  name: string;
  labels: string[];
  sample_rate: number;
  hop: number;
  streaming: "frame" | "window";
  window_s: number | null;
  window_hop_s: number | null;
  state: { name: string; shape: number[]; scope: "segment" | "stream" }[];
  temperature: number;
  /** Below this the largest probability claims no label; 0 in cards that do not say. */
  uncertain_below?: number;
  normalisation?: Record<string, unknown>;
  golden: { seconds: number; posterior: number[]; tolerance: number };
  digest: string;
}

const FORMAT_VERSION = 1;
const SEALED = /"digest":"sha256:([0-9a-f]{64})"\}$/;

/** The card of a bundle whose bytes are whole; throws a sentence where they are not. */
export async function unseal(bytes: Uint8Array<ArrayBuffer>): Promise<Card> {
  const seal = SEALED.exec(latin(bytes.subarray(-96)));
  if (!seal?.[1]) throw new Error("The recogniser's file is no bundle or is cut short; load it again.");
  if ((await digest(bytes)) !== seal[1]) {
    throw new Error("The recogniser's file is damaged: its bytes do not match its digest; load it again.");
  }
  const card = JSON.parse(cardText(bytes)) as Card;
  if (card.format_version !== FORMAT_VERSION) {
    throw new Error(
      `This page runs bundles of format version ${FORMAT_VERSION}, not ${card.format_version}.`,
    );
  }
  return card;
}

/** The SHA-256 of the file with the digest itself read as zeros. */
async function digest(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const blank = bytes.slice();
  blank.fill(0x30, blank.length - 66, blank.length - 2);
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", blank));
  return [...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The JSON text is the last thing in the file, after its key and its length (onnx.proto, metadata_props). */
function cardText(bytes: Uint8Array): string {
  const key = [0x0a, 9, ...[..."vocaffect"].map((letter) => letter.charCodeAt(0)), 0x12];
  for (let at = bytes.length - key.length; at >= 0; at -= 1) {
    if (key.every((byte, index) => bytes[at + index] === byte)) {
      let start = at + key.length;
      while ((bytes[start] ?? 0) & 0x80) start += 1;
      return new TextDecoder().decode(bytes.subarray(start + 1));
    }
  }
  throw new Error("The recogniser's file carries no card; load it again.");
}

function latin(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

/** The signal that every bundle must answer as its card says: the twin of `vocaffect.bundle.golden_signal`. */
export function goldenSignal(seconds: number): Float32Array {
  return Float32Array.from({ length: Math.round(seconds * 16_000) }, (_, index) => {
    const t = index / 16_000;
    const phase = 2 * Math.PI * (140 * t + 4 * Math.sin(2 * Math.PI * 1.7 * t));
    let voice = 0;
    for (let k = 1; k <= 12; k += 1) voice += Math.sin(k * phase + k * k) / k;
    const hiss = Math.sin(1e5 * t * t + 40 * Math.sin(7919 * t));
    const syllables = t < 0.8 * seconds ? Math.sin(Math.PI * 4 * t) ** 2 : 0;
    return 0.1 * syllables * voice + 0.003 * hiss;
  });
}
