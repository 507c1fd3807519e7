import { defineConfig } from "vitest/config";

export default defineConfig({ test: { include: ["{src,examples}/**/*.test.{ts,tsx}"], environment: "happy-dom" } });
