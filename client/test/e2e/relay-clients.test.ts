import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { Server } from "./server";
import { type Client, socketClients } from "./sockets";

const until = expect.poll;

let server: Server;

beforeEach(async () => {
  server = await Server.start();
});

afterEach(async () => {
  await server?.remove();
});

async function post(path: string, body: object): Promise<{ url: string }> {
  const headers = { "content-type": "application/json" };
  const url = new URL(path, server.url);
  const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
  expect(response.ok, await response.clone().text()).toBe(true);
  return response.json();
}

describe.each(Object.entries(socketClients))("%s", (_name, start) => {
  let client: Client;

  beforeAll(async () => {
    client = await start();
  });

  afterAll(() => client?.stop());

  /** Registers, connects where the answer says, as it stands, and waits until that is done. */
  async function connect(user_id: number | string, topics: readonly string[]) {
    const { url } = await post("register", { user_id, topics: [...topics, "opened"] });
    const socket = await client.open(new URL(url), server.url);
    await post("publish", { topic: "opened", message: "yes", user_id });
    await until(() => socket.messages).toEqual(["yes"]);
    socket.messages.length = 0;
    return { url: new URL(url), socket };
  }

  test("gets what is published to its topics, and what is published to its user", async () => {
    const ann = await connect(1, ["cats"]);
    const ben = await connect("ben", ["cats", "dogs"]);
    await post("publish", { topic: "cats", message: "héllo 🌍" });
    await post("publish", { topic: "cats", message: { for: 1 }, user_id: "1" });
    await post("publish", { topic: "dogs", message: null });
    await until(() => ann.socket.messages).toEqual(["héllo 🌍", '{"for":1}']);
    await until(() => ben.socket.messages).toEqual(["héllo 🌍", "null"]);
  });

  test("changes its topics, and a pong says that they hold", async () => {
    const { socket } = await connect(1, []);
    await post("publish", { topic: "cats", message: "unheard" });
    socket.send('{"topics":["cats","dogs"]}');
    socket.send("ping");
    await until(() => socket.messages).toEqual(["pong"]);
    await post("publish", { topic: "dogs", message: "heard" });
    await until(() => socket.messages).toEqual(["pong", "heard"]);
  });

  test("is told when it is deleted, and when another connection takes over", async () => {
    const { url, socket } = await connect(1, ["cats"]);
    const second = await client.open(url, server.url);
    const takenOver = "another connection took over the registration";
    await until(() => socket.end).toEqual({ code: 4001, reason: takenOver, clean: true });
    const register = new URL(url.pathname.replace("/ws/", "/register/"), server.url);
    expect((await fetch(register, { method: "DELETE" })).status).toBe(204);
    const deleted = "the registration was deleted";
    await until(() => second.end).toEqual({ code: 1000, reason: deleted, clean: true });
    expect((await fetch(register, { method: "DELETE" })).status).toBe(404);
  });
});
