/** The quick start of @whispr/client's README, as it is written there. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { expect, it, onTestFinished, vi } from "vitest";
import { WebSocket } from "ws";
import { describeServer } from "./harness";

const README = new URL("../../client/README.md", import.meta.url);
const EXAMPLE = new URL("../../client/examples/quick-start.ts", import.meta.url);

describeServer("the quick start", () => {
  it("is in the README as it runs here, and says what became of the message", async () => {
    const example = readFileSync(EXAMPLE, "utf8");
    expect(readFileSync(README, "utf8")).toContain(`\`\`\`ts\n${example}\`\`\``);
    const copy = new URL("quick-start.copy.ts", import.meta.url);
    writeFileSync(copy, example.replace("http://127.0.0.1:8000", process.env["WHISPR_TEST_URL"] ?? ""));
    onTestFinished(() => rmSync(copy));
    // Node 20 has none of its own.
    if (globalThis.WebSocket === undefined) vi.stubGlobal("WebSocket", WebSocket);
    const said: string[] = [];
    vi.spyOn(console, "log").mockImplementation((line: unknown) => void said.push(String(line)));
    onTestFinished(() => void vi.restoreAllMocks());
    await import(/* @vite-ignore */ copy.href);
    await vi.waitFor(() => expect(said).toContain("In the conversation: hello, delivered"), 30_000);
    expect(said).toContain("Bob reads: hello");
    expect(said).toContain("Ada's message: sent");
    // Somebody's first key may be 15 s away, and its last word comes 3 s after that.
  }, 60_000);
});
