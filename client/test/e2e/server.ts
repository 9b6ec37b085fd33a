import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { insert } from "../../demo/send.mjs";

/** The Broker under test: the binary that BROKER_BIN names, on a data directory of its own. */
export class Server {
  #process: ChildProcess | undefined;
  #port = "0";

  private constructor(
    private readonly dataDir: string,
    private readonly environment: Readonly<Record<string, string>>,
  ) {}

  static async start(environment: Readonly<Record<string, string>> = {}): Promise<Server> {
    const server = new Server(await mkdtemp(join(tmpdir(), "broker-e2e-")), environment);
    await server.start();
    return server;
  }

  get url(): URL {
    return new URL(`http://127.0.0.1:${this.#port}/`);
  }

  /** Starts it, or starts it again with the same data and on the same port. */
  async start(): Promise<void> {
    const { BROKER_BIN } = process.env;
    if (BROKER_BIN === undefined) throw new Error("set BROKER_BIN to the path of the binary");
    const env = {
      ...process.env,
      BROKER_DATA_DIR: this.dataDir,
      BROKER_HOST: "127.0.0.1",
      ...this.environment,
      PORT: this.#port,
    };
    // In its own directory, so that no .env of the checkout speaks.
    const child = spawn(BROKER_BIN, [], { env, cwd: this.dataDir, stdio: "pipe" });
    this.#process = child;
    this.#port = await listeningPort(child);
  }

  /** Asks this process, and no other, to end, and waits until it has. */
  async stop(): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((done) => child.once("exit", done));
    child.kill("SIGTERM");
    await ended;
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** Comes back on the same port as a server that never saw anything. */
  async restartEmpty(): Promise<void> {
    await this.stop();
    await rm(this.dataDir, { recursive: true, force: true });
    await mkdir(this.dataDir);
    await this.start();
  }

  async remove(): Promise<void> {
    await this.stop();
    await rm(this.dataDir, { recursive: true, force: true });
  }

  /** Inserts JSON text under a new id. */
  async insert(event: string, data: string): Promise<void> {
    await insert(this.url, { event, id: crypto.randomUUID(), data });
  }
}

async function listeningPort(child: ChildProcess): Promise<string> {
  const { stdout, stderr } = child;
  if (stdout === null || stderr === null) throw new Error("the server has no output");
  const said: string[] = [];
  stderr.on("data", (chunk) => said.push(String(chunk)));
  return new Promise((found, fail) => {
    createInterface(stdout).on("line", (line) => {
      said.push(`${line}\n`);
      const port = line.match(/listening on http:\/\/127\.0\.0\.1:(\d+)/)?.[1];
      if (port !== undefined) found(port);
    });
    child.once("error", fail);
    child.once("exit", (code) => fail(new Error(`the server ended (${code}): ${said.join("")}`)));
  });
}
