import { defineConfig } from "vitest/config";
import { thirdPartyLicences } from "./licences.ts";

/** Where `npm run dev` finds a running server (`script/server`). */
const server = process.env["WHISPR_URL"] ?? "http://127.0.0.1:8000";

export default defineConfig({
  plugins: [thirdPartyLicences()],
  // Django serves index.html at / and everything else below /static/web/ (STATICFILES_DIRS).
  base: "/static/web/",
  build: {
    outDir: "dist",
    emptyOutDir: true,
    target: "es2022",
    sourcemap: false,
    // Nothing is inlined as data:, which the page's content security policy would refuse.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: {
    proxy: {
      "/api": { target: server },
      "/socket": { target: server, ws: true },
    },
  },
  test: { include: ["src/**/*.test.{ts,tsx}"], environment: "happy-dom" },
});
