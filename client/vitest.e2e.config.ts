import { defineConfig } from "vitest/config";

// These start real servers and a real browser; one file at a time keeps a small machine honest.
export default defineConfig({
  test: {
    include: ["test/e2e/**/*.test.ts"],
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: 30_000 } },
  },
});
