import { expect, test } from "vitest";
import { type Draft, Inserter } from "../../src/insert";

const DRAFT: Draft = { event: "a", data: "12345678901234567890" };
const RECEIPT = { seq: 1, event: "a", version: 1, id: "i", timestamp: "t" };

/** Answers in turn; an Error stands for a connection that broke. */
function server(...answers: (Error | Response)[]) {
  const bodies: string[] = [];
  const send = async (_: unknown, init?: RequestInit) => {
    bodies.push(String(init?.body));
    const answer = answers.shift();
    if (answer === undefined || answer instanceof Error) throw answer ?? new Error("unexpected");
    return answer;
  };
  const inserter = new Inserter(new URL("http://broker.test/insert"), send);
  const ids = () => bodies.map((body) => (JSON.parse(body) as { id: string }).id);
  return { inserter, bodies, ids };
}

const problem = (status: number, code: string, detail = "why") =>
  Response.json({ status, code, detail }, { status });

test("the value is sent as it was typed", async () => {
  const { inserter, bodies } = server(Response.json(RECEIPT, { status: 201 }));
  const outcome = await inserter.insert({ ...DRAFT, expectedVersion: 0 });
  expect(bodies[0]).toMatch(
    /^\{"event":"a","id":"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}","expected_version":0,"data":\n12345678901234567890\}$/,
  );
  expect(outcome).toEqual({ kind: "stored", receipt: RECEIPT, isNew: true });
});

test("an unanswered insert keeps its id until it is answered", async () => {
  const { inserter, ids } = server(
    new TypeError("network"),
    problem(503, "busy"),
    Response.json(RECEIPT),
    Response.json(RECEIPT, { status: 201 }),
  );
  expect((await inserter.insert(DRAFT)).kind).toBe("unanswered");
  expect((await inserter.insert(DRAFT)).kind).toBe("unanswered");
  expect(await inserter.insert(DRAFT)).toMatchObject({ kind: "stored", isNew: false });
  await inserter.insert(DRAFT);
  expect(new Set(ids().slice(0, 3)).size).toBe(1);
  expect(ids()[3]).not.toBe(ids()[2]);
});

test("another value is another insert", async () => {
  const { inserter, ids } = server(new Error("network"), Response.json(RECEIPT));
  await inserter.insert(DRAFT);
  await inserter.insert({ ...DRAFT, data: "2" });
  expect(ids()[0]).not.toBe(ids()[1]);
});

test("a refusal is shown at the field it is about", async () => {
  const cases = [
    [409, "version-mismatch", "expected-version"],
    [422, "invalid-event", "event"],
    [400, "malformed-json", "data"],
    [413, "body-too-large", "data"],
    [409, "id-taken", "form"],
    [507, "disk-full", "form"],
  ] as const;
  for (const [status, code, field] of cases) {
    const { inserter } = server(problem(status, code));
    expect(await inserter.insert(DRAFT)).toEqual({ kind: "refused", field, detail: "why" });
  }
});

test("a place in the body is told as the place in the form", async () => {
  const detail = 'line 3, column 7: the key "a" comes twice';
  const problem = { status: 400, code: "malformed-json", detail, line: 3, column: 7 };
  const { inserter } = server(Response.json(problem, { status: 400 }));
  expect(await inserter.insert(DRAFT)).toMatchObject({
    detail: 'line 2, column 7: the key "a" comes twice',
  });
});

test("an answer that is no problem document still says something", async () => {
  const { inserter } = server(new Response("<html>", { status: 404 }));
  expect(await inserter.insert(DRAFT)).toMatchObject({
    kind: "refused",
    detail: "The server answered 404.",
  });
});
