import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts"],
    environment: "node",
    // The server promises an answer within 10 s; a test that needs longer hangs.
    testTimeout: 20_000,
    hookTimeout: 20_000,
    // All files share one server, and one of them restarts it.
    fileParallelism: false,
    globalSetup: ["src/announce.ts"],
  },
});
