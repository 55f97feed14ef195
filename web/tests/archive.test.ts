import { afterEach, expect, it, vi } from "vitest";

import { Archive } from "../src/lib/archive.svelte";
import type { Corrections } from "../src/lib/corrections.svelte";
import type { Recording } from "../src/lib/recording.svelte";
import type { Take } from "../src/lib/take.svelte";

const take = {
  side: { card: { name: "toy", digest: "", labels: ["happy", "sad"] } },
  segments: [{ type: "segment", index: 0, label: "happy" }],
} as unknown as Take;
const recording = { name: "voice.wav", durationS: 1, playable: new Blob(["sound"]) } as unknown as Recording;
const corrections = { of: () => new Map() } as unknown as Corrections;

/** A server that keeps one session; it stores the sound only once `hear` is called. */
function server(): { asked: string[]; hear: () => void } {
  const asked: string[] = [];
  let session = { id: "1", has_audio: false, segments: [{ index: 0, corrected: null as string | null }] };
  let hear = (): void => undefined;
  const heard = new Promise<void>((resolve) => (hear = resolve));
  vi.stubGlobal("fetch", async (path: string, { method, body }: { method: string; body?: string }) => {
    asked.push(`${method} ${path}`);
    if (path.includes("/audio")) {
      await heard;
      session = { ...session, has_audio: true };
    }
    if (path.includes("/segments/"))
      session = { ...session, segments: [{ index: 0, corrected: JSON.parse(body ?? "").label as string }] };
    const answer = method === "GET" ? { sessions: [session] } : session;
    return new Response(JSON.stringify(answer));
  });
  return { asked, hear };
}

afterEach(() => vi.unstubAllGlobals());

it("says that the sound is saved when it is, and what is asked meanwhile waits its turn", async () => {
  const { asked, hear } = server();
  const archive = new Archive();
  const kept = archive.keep(recording, take, corrections, true);
  const corrected = archive.correct(take, 0, "sad");
  const loaded = archive.load();
  await vi.waitFor(() => expect(asked).toHaveLength(2));
  expect(archive.kept.get(take)?.has_audio).toBe(false);
  hear();
  await Promise.all([kept, corrected, loaded]);
  expect(asked).toEqual([
    "POST /v1/saved",
    "PUT /v1/saved/1/audio?consent=true",
    "PUT /v1/saved/1/segments/0",
    "GET /v1/saved",
  ]);
  expect(archive.kept.get(take)).toEqual(archive.sessions[0]);
  expect(archive.sessions).toEqual([{ id: "1", has_audio: true, segments: [{ index: 0, corrected: "sad" }] }]);
});

it("goes on after a request that failed, and knows what was saved before it", async () => {
  server();
  const { fetch } = globalThis;
  vi.stubGlobal("fetch", (path: string, request: RequestInit) =>
    path.includes("/audio") ? Promise.reject(new Error("lost")) : fetch(path, request),
  );
  const archive = new Archive();
  await archive.keep(recording, take, corrections, true);
  expect(archive.error).toContain("does not answer");
  expect(archive.kept.get(take)?.has_audio).toBe(false);
  await archive.correct(take, 0, "sad");
  expect(archive.error).toBeNull();
  expect(archive.sessions[0]?.segments[0]?.corrected).toBe("sad");
});
