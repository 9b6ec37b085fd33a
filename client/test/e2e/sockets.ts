import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Browser } from "playwright-core";
import { launch } from "./browser";

/** How a socket ended. */
export interface End {
  readonly code: number;
  readonly reason: string;
  /** Whether a close frame came. */
  readonly clean: boolean;
}

/** A client's socket and what came over it so far. */
export interface Socket {
  readonly messages: string[];
  end: End | undefined;
  send(text: string): void;
  close(code: number, reason: string): void;
}

/** Opens a socket; `page` is where a browser's page comes from. */
export type OpenSocket = (url: URL, page: URL) => Promise<Socket>;

export interface Client {
  open: OpenSocket;
  stop(): Promise<void>;
}

/** Fragments: what only this client can be told to send. */
export interface Fragmenting extends Socket {
  fragments(parts: readonly string[]): void;
}

export async function websockets(url: URL): Promise<Fragmenting> {
  const script = fileURLToPath(new URL("websockets_client.py", import.meta.url));
  const python = process.env.BROKER_TEST_PYTHON ?? "python3";
  const child = spawn(python, [script, url.href], { stdio: ["pipe", "pipe", "inherit"] });
  const order = (what: object) => child.stdin.write(`${JSON.stringify(what)}\n`);
  const socket: Fragmenting = {
    messages: [],
    end: undefined,
    send: (text) => order({ send: text }),
    fragments: (parts) => order({ send: parts }),
    close: (code, reason) => order({ close: code, reason }),
  };
  createInterface(child.stdout).on("line", (line) => {
    const said = JSON.parse(line);
    if ("text" in said) socket.messages.push(said.text);
    else socket.end = said;
  });
  return socket;
}

const pypi = async (): Promise<Client> => ({ open: websockets, stop: async () => {} });

/** Each socket in a page of its own, so that the page's origin is what the browser says it is. */
async function chromium(): Promise<Client> {
  const browser: Browser = await launch();
  const open: OpenSocket = async (url, from) => {
    const page = await browser.newPage();
    const socket: Socket = {
      messages: [],
      end: undefined,
      send: (text) => void page.evaluate(`socket.send(${JSON.stringify(text)})`),
      close: (code, reason) =>
        void page.evaluate(`socket.close(${code}, ${JSON.stringify(reason)})`),
    };
    await page.exposeFunction("take", (text: string) => socket.messages.push(text));
    await page.exposeFunction("ended", (end: End) => {
      socket.end = end;
    });
    await page.goto(from.href);
    await page.evaluate(`
      globalThis.socket = new WebSocket(${JSON.stringify(url.href)});
      socket.onmessage = ({ data }) => take(data);
      socket.onclose = ({ code, reason, wasClean }) => ended({ code, reason, clean: wasClean });
    `);
    return socket;
  };
  return { open, stop: () => browser.close() };
}

export const socketClients: Readonly<Record<string, () => Promise<Client>>> = {
  "PyPI websockets": pypi,
  Chromium: chromium,
};
