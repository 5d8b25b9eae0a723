/** Sends requests to the API and turns its errors into `Problem`s. */

/**
 * The access token of the session. It is kept only here. After a reload the browser's cookie gets a new one, which no
 * script can read. `renew` replaces a token that the server refused.
 * @type {{token: string, renew: (refused: string) => Promise<void>}}
 */
export const authorization = {
  token: "",
  renew: async () => {
    throw new Problem(401, "Sign in first.");
  },
};

/** An error to show to the user: `message` is the `detail` of the API's problem. */
export class Problem extends Error {
  /**
   * @param {number} status 0 if there was no response
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

export const UNREACHABLE = "The server cannot be reached. Check your connection and try again.";

/**
 * Make a `Problem` from an error response.
 * @param {number} status
 * @param {string | null} retryAfter value of the header `Retry-After`
 * @param {string} text body of the response
 * @returns {Problem}
 */
export function readProblem(status, retryAfter, text) {
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    body = {}; // not from the API, for example a proxy's error page
  }
  const fields = (body.errors ?? []).filter((error) => error.field !== "body");
  const reasons = fields.map((error) => `${error.field} ${error.message}`).join("; ");
  const detail = body.detail ?? `The server answered ${status}. Try again.`;
  const message = reasons && !detail.includes(reasons) ? `${detail} (${reasons})` : detail;
  return new Problem(status, message, { retryAfter: Number(retryAfter) || 0, passages: body.passages });
}

/**
 * Send a request to the API. If the token is no longer valid, ask for the password, get a new token and send it again.
 * @param {string} path
 * @param {{method?: string, body?: object, headers?: Record<string, string>, signal?: AbortSignal}} [options]
 * @returns {Promise<Response>} a response with a success status
 * @throws {Problem} if the request fails; an AbortError if `signal` aborts it
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
 * Send a request to the API and return the JSON of its response.
 * @param {string} path
 * @param {Parameters<typeof request>[1]} [options]
 * @returns {Promise<any>}
 */
export async function requestJson(path, options) {
  return (await request(path, options)).json();
}
