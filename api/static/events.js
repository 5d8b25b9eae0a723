/** Watches documents and notes for changes, through an event stream, or by polling while there is none. */

import { request } from "./api.js";
import { readEvents } from "./sse.js";

const SILENCE_MS = 45_000; // three times the server's keep-alive interval
export const POLL_MS = 1_500;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;

/**
 * @typedef {object} Watcher
 * @property {(event: import("./sse.js").ServerEvent) => void} onEvent
 * @property {() => Promise<void>} refresh loads the current state of everything shown
 * @property {() => boolean} isWaiting true if something shown is not finished yet
 * @property {(isLive: boolean) => void} onConnection
 */

/**
 * Watch until the page is closed.
 * @param {Watcher} watcher
 */
export async function watch(watcher) {
  const connection = { isLive: false, lastId: "" };
  poll(watcher, connection);
  let pause = FIRST_PAUSE_MS;
  for (;;) {
    await waitUntilVisible();
    const wasLive = await follow(watcher, connection);
    connection.isLive = false;
    if (document.hidden) continue;
    pause = wasLive ? FIRST_PAUSE_MS : Math.min(2 * pause, LONGEST_PAUSE_MS);
    watcher.onConnection(false);
    // Random, so that pages do not all reconnect at the same moment after a restart of the server.
    await sleep(pause * (0.5 + Math.random()));
  }
}

/**
 * Read the stream until it ends or breaks.
 * @returns {Promise<boolean>} whether a stream was open
 */
async function follow(watcher, connection) {
  const abort = new AbortController();
  const close = () => abort.abort();
  // A browser shares six connections to a host among all its tabs, so hidden tabs give theirs up.
  const closeIfHidden = () => document.hidden && close();
  document.addEventListener("visibilitychange", closeIfHidden);
  let silence = setTimeout(close, SILENCE_MS);
  try {
    const headers = { Accept: "text/event-stream" };
    if (connection.lastId) headers["Last-Event-ID"] = connection.lastId;
    const response = await request("/v1/events", { headers, signal: abort.signal });
    connection.isLive = true;
    watcher.onConnection(true);
    watcher.refresh().catch(close); // for changes before the stream began
    const onBytes = () => {
      clearTimeout(silence);
      silence = setTimeout(close, SILENCE_MS);
    };
    for await (const event of readEvents(response, onBytes)) {
      connection.lastId = event.id ?? connection.lastId;
      if (event.data) watcher.onEvent(event);
    }
  } catch {
    // Any failure: polling takes over, and `watch` reconnects.
  } finally {
    clearTimeout(silence);
    document.removeEventListener("visibilitychange", closeIfHidden);
  }
  return connection.isLive;
}

/** Poll while no stream is open and something is not finished. */
async function poll(watcher, connection) {
  for (;;) {
    await sleep(POLL_MS);
    if (connection.isLive || document.hidden || !watcher.isWaiting()) continue;
    await watcher.refresh().catch((problem) => sleep(1000 * (problem.retryAfter ?? 0)));
  }
}

function waitUntilVisible() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
}

function sleep(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
