/** Reads server-sent events from a response. `EventSource` cannot send a token or a body. */

/**
 * @typedef {{name: string, data: any, id: string | null}} ServerEvent `data` is the parsed JSON, or null if the event has no data
 */

/**
 * Yield the events of a stream until it ends.
 * @param {Response} response
 * @param {() => void} [onBytes] called whenever data arrives, including comments
 * @returns {AsyncGenerator<ServerEvent>}
 */
export async function* readEvents(response, onBytes = () => {}) {
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      onBytes();
      // A CRLF that is split between two pieces must not count as two line ends.
      text = (text + decoder.decode(value, { stream: true })).replace(/\r\n|\r(?!$)/g, "\n");
      const blocks = text.split("\n\n");
      text = blocks.pop() ?? "";
      for (const block of blocks) {
        yield parseEvent(block);
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/**
 * @param {string} block the lines of one event
 * @returns {ServerEvent}
 */
function parseEvent(block) {
  let name = "message";
  let id = null;
  const data = [];
  for (const line of block.split("\n")) {
    const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line) ?? [];
    if (field === "event") name = value;
    else if (field === "data") data.push(value);
    else if (field === "id") id = value;
  }
  return { name, id, data: data.length ? JSON.parse(data.join("\n")) : null };
}
