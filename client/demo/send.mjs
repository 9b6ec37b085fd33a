/** @typedef {import("./records.mjs").DemoRecord} DemoRecord */

const RETRIES_MAX = 20;
const RETRY_AFTER_SECONDS_DEFAULT = 1;

/**
 * Inserts one record and says whether it was new. A server that is busy is asked again when it
 * said so; the record's own id makes that safe.
 * @param {URL} base
 * @param {DemoRecord} record
 * @returns {Promise<boolean>}
 */
export async function insert(base, record) {
  for (let retries = 0; ; retries += 1) {
    const response = await post(base, record);
    const text = await response.text();
    if (response.ok) return response.status === 201;
    if (response.status !== 503 || retries >= RETRIES_MAX) {
      throw new Error(`${record.event} was refused with ${response.status}: ${detailOf(text)}`);
    }
    const seconds = Number(response.headers.get("retry-after") ?? RETRY_AFTER_SECONDS_DEFAULT);
    await new Promise((done) => setTimeout(done, seconds * 1_000));
  }
}

/**
 * @param {URL} base
 * @param {DemoRecord} record
 */
async function post(base, { event, id, data }) {
  const body = `{"event":${JSON.stringify(event)},"id":"${id}","data":${data}}`;
  const headers = { "content-type": "application/json" };
  try {
    return await fetch(new URL("insert", base), { method: "POST", headers, body });
  } catch (error) {
    const reason = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    throw new Error(`no answer from ${base.href}: ${reason}`);
  }
}

/** @param {string} text */
function detailOf(text) {
  try {
    return JSON.parse(text).detail ?? text;
  } catch {
    return text;
  }
}
