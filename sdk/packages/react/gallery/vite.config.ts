import { defineConfig } from "vite";

/** `npm run gallery --workspace @whispr/react` shows every component in its states. */
export default defineConfig({ root: import.meta.dirname });
