import { defineConfig } from "vite";

const broker = `http://127.0.0.1:${process.env.BROKER_PORT ?? "8080"}`;

export default defineConfig({
  // Relative, so that the page also works where Broker is mounted under a path prefix.
  base: "./",
  build: {
    target: "es2022",
    // The binary embeds exactly these files by name; the policy it sends allows no inline asset.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rolldownOptions: {
      output: { entryFileNames: "page.js", assetFileNames: "page.[ext]" },
    },
  },
  server: {
    host: "127.0.0.1",
    port: 5173,
    strictPort: true,
    proxy: {
      "^/(insert|events|latest|audit|log|health|register|publish)([/?]|$)": broker,
      "^/ws/": { target: broker, ws: true },
    },
  },
});
