import { defineConfig } from "vitest/config";

// A test starts processes and waits for what a quiet machine does in a second: two busy cores took seven.
export default defineConfig({
  test: { include: ["{src,examples}/**/*.test.ts"], environment: "node", testTimeout: 30_000 },
});
