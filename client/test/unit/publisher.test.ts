import { expect, test } from "vitest";
import { publish } from "../../src/publisher";

const URL_OF = new URL("http://broker.test/prefix/publish");
const RECEIPT = { seq: 1, event: "cats", version: 1, id: "i", timestamp: "t" };

/** Answers once; an Error stands for a connection that broke. */
function server(answer: Error | Response) {
  const bodies: string[] = [];
  const send = async (_: unknown, init?: RequestInit) => {
    bodies.push(String(init?.body));
    if (answer instanceof Error) throw answer;
    return answer;
  };
  return { send, bodies };
}

test("a message is sent as a string, to everybody or to one user", async () => {
  for (const [user, body] of [
    [undefined, '{"topic":"cats","message":"say \\"hi\\""}'],
    ["7", '{"topic":"cats","message":"say \\"hi\\"","user_id":"7"}'],
  ] as const) {
    const { send, bodies } = server(Response.json(RECEIPT, { status: 201 }));
    const message = { topic: "cats", text: 'say "hi"', ...(user === undefined ? {} : { user }) };
    expect(await publish(URL_OF, message, send)).toEqual({ kind: "stored", receipt: RECEIPT });
    expect(bodies).toEqual([body]);
  }
});

test("what the server says of a refusal is told", async () => {
  const message = { topic: "a b", text: "" };
  const said = { status: 422, code: "invalid-event", detail: "topic: no" };
  const { send } = server(Response.json(said, { status: 422 }));
  expect(await publish(URL_OF, message, send)).toEqual({ kind: "refused", detail: "topic: no" });
  const plain = server(Response.json({}, { status: 503 }));
  expect(await publish(URL_OF, message, plain.send)).toEqual({
    kind: "refused",
    detail: "The server answered 503.",
  });
});

test("an outcome that nobody knows is not called a refusal", async () => {
  const message = { topic: "cats", text: "x" };
  for (const answer of [
    new TypeError("network"),
    new Response("<html>", { status: 502 }),
    Response.json({ code: "outcome-unknown", detail: "?" }, { status: 500 }),
  ]) {
    const { send } = server(answer);
    expect(await publish(URL_OF, message, send)).toEqual({ kind: "unanswered" });
  }
});
