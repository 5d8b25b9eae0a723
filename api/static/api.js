/** Requests to the API, and its errors. */

/**
 * Under whose name requests are made. The token lives here alone: a reload forgets it. `renew` gets a new one after this one
 * was refused.
 * @type {{token: string, renew: (refused: string) => Promise<void>}}
 */
export const authorization = {
  token: "",
  renew: async () => {
    throw new Problem(401, "Sign in first.");
  },
};

/** What went wrong, in words for people: `message` is the problem's `detail`. */
export class Problem extends Error {
  /**
   * @param {number} status 0 where no answer came
   * @param {string} message
   * @param {{retryAfter?: number, passages?: any[]}} [more] `retryAfter` in seconds
   */
  constructor(status, message, { retryAfter = 0, passages = [] } = {}) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
    this.passages = passages;
  }
}

export const UNREACHABLE = "The server cannot be reached. Look at your connection, and try again.";

/**
 * @param {number} status
 * @param {string | null} retryAfter the header
 * @param {string} text the body
 * @returns {Problem}
 */
export function readProblem(status, retryAfter, text) {
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    body = {}; // a proxy's page
  }
  const fields = (body.errors ?? []).filter((error) => error.field !== "body");
  const places = fields.map((error) => `${error.field} ${error.message}`).join("; ");
  const detail = body.detail ?? `The server answered ${status}. Try again.`;
  const message = places && !detail.includes(places) ? `${detail} (${places})` : detail;
  return new Problem(status, message, { retryAfter: Number(retryAfter) || 0, passages: body.passages });
}

/**
 * Ask the API. A token that is no longer valid is renewed by asking for the password, and the request made again.
 * @param {string} path
 * @param {{method?: string, body?: object, headers?: Record<string, string>, signal?: AbortSignal}} [options]
 * @returns {Promise<Response>} a good one
 * @throws {Problem} for every other one; an AbortError where `signal` says so
 */
export async function request(path, { method = "GET", body, headers = {}, signal } = {}) {
  const { token } = authorization;
  const all = { ...headers };
  if (token) all.Authorization = `Bearer ${token}`;
  if (body) all["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers: all, body: body && JSON.stringify(body), signal });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, UNREACHABLE);
  }
  if (response.ok) return response;
  if (response.status === 401 && token && !path.startsWith("/v1/auth/")) {
    await authorization.renew(token);
    return request(path, { method, body, headers, signal });
  }
  throw readProblem(response.status, response.headers.get("Retry-After"), await response.text());
}

/**
 * Ask for JSON.
 * @param {string} path
 * @param {Parameters<typeof request>[1]} [options]
 * @returns {Promise<any>}
 */
export async function requestJson(path, options) {
  return (await request(path, options)).json();
}
