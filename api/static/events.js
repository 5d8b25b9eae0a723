/** What happens to documents and notes: by a stream of events, and by asking again and again while there is none. */

import { request } from "./api.js";
import { readEvents } from "./sse.js";

const SILENCE_MS = 45_000; // three times the server's pause between signs of life
const POLL_MS = 1_500;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;

/**
 * @typedef {object} Watcher
 * @property {(event: import("./sse.js").ServerEvent) => void} onEvent
 * @property {() => Promise<void>} refresh asks for the present state of everything that is shown
 * @property {() => boolean} isWaiting whether something shown is going to change by itself
 * @property {(isLive: boolean) => void} onConnection
 */

/**
 * Keep watching for as long as the page is there.
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
    // Not all pages at the same moment after a restart of the server.
    await sleep(pause * (0.5 + Math.random()));
  }
}

/**
 * Read the stream until it ends or breaks.
 * @returns {Promise<boolean>} whether there was one
 */
async function follow(watcher, connection) {
  const abort = new AbortController();
  const giveUp = () => abort.abort();
  // A browser has six connections to a host for all its tabs: those nobody looks at do without.
  const leave = () => document.hidden && giveUp();
  document.addEventListener("visibilitychange", leave);
  let silence = setTimeout(giveUp, SILENCE_MS);
  try {
    const headers = { Accept: "text/event-stream" };
    if (connection.lastId) headers["Last-Event-ID"] = connection.lastId;
    const response = await request("/v1/events", { headers, signal: abort.signal });
    connection.isLive = true;
    watcher.onConnection(true);
    watcher.refresh().catch(giveUp); // what happened before it
    const onBytes = () => {
      clearTimeout(silence);
      silence = setTimeout(giveUp, SILENCE_MS);
    };
    for await (const event of readEvents(response, onBytes)) {
      connection.lastId = event.id ?? connection.lastId;
      if (event.data) watcher.onEvent(event);
    }
  } catch {
    // Whatever broke it: the polling goes on, and the stream is tried again.
  } finally {
    clearTimeout(silence);
    document.removeEventListener("visibilitychange", leave);
  }
  return connection.isLive;
}

/** Ask while there is no stream and something is going to change. */
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
