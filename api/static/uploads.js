/** Uploads: several at a time, each with a row that shows its progress and errors, and buttons to stop and retry it. */

import { authorization, readProblem, UNREACHABLE, Problem } from "./api.js";
import { announce, byId, copyTemplate, makeButton, removeRow, showText } from "./dom.js";
import { formatBytes } from "./format.js";

const MAX_CONCURRENT = 3;
const DEFAULT_WAIT_SECONDS = 5;

/**
 * @typedef {object} Upload
 * @property {File} file
 * @property {HTMLElement} row
 * @property {AbortController} abort
 * @property {string} collection id of the collection to put it into, or an empty text
 */

export class Uploads {
  /** @type {Upload[]} */
  #waiting = [];
  #sending = 0;

  /**
   * @param {(document: any, isDuplicate: boolean, collection: string) => Promise<HTMLElement | undefined>} onAccepted
   * returns the document's row
   * @param {() => string} getCollection
   */
  constructor(onAccepted, getCollection) {
    this.onAccepted = onAccepted;
    this.getCollection = getCollection;
  }

  /** @param {Iterable<File>} files */
  add(files) {
    for (const file of files) {
      const upload = { file, row: makeRow(file), abort: new AbortController(), collection: this.getCollection() };
      const stop = makeButton("Stop", `Stop the upload of ${file.name}`, () => this.#stop(upload));
      const retry = makeButton("Try again", `Upload ${file.name} again`, () => this.#retry(upload));
      retry.classList.add("retry");
      retry.hidden = true;
      upload.row.querySelector(".buttons").append(retry, stop);
      byId("document-list").prepend(upload.row);
      this.#waiting.push(upload);
    }
    this.#sendNext();
  }

  #sendNext() {
    while (this.#sending < MAX_CONCURRENT && this.#waiting.length) {
      this.#sending += 1;
      this.#run(this.#waiting.shift()).finally(() => {
        this.#sending -= 1;
        this.#sendNext();
      });
    }
  }

  async #run(upload) {
    try {
      const { document: accepted, isDuplicate } = await sendUntilAnswered(upload);
      const row = await this.onAccepted(accepted, isDuplicate, upload.collection);
      if (upload.row.contains(document.activeElement)) row?.querySelector(".buttons button:last-child").focus();
      upload.row.remove();
    } catch (problem) {
      if (!upload.abort.signal.aborted) showFailure(upload, problem);
    }
  }

  #stop(upload) {
    upload.abort.abort();
    this.#waiting = this.#waiting.filter((other) => other !== upload);
    removeRow(upload.row, byId("documents-title"));
  }

  #retry(upload) {
    showText(upload.row.querySelector(".error"), "");
    upload.row.querySelector(".buttons button:last-child").focus();
    upload.row.querySelector(".retry").hidden = true;
    showStage(upload, "waiting", "");
    this.#waiting.push(upload);
    this.#sendNext();
  }
}

/**
 * Send a file until it is accepted or refused: retry after a wait if the server is busy, or after the user signs in again.
 * @param {Upload} upload
 * @throws {Problem} if the file is refused or the connection is lost
 */
async function sendUntilAnswered(upload) {
  for (;;) {
    const { token } = authorization;
    const answer = await send(upload, token);
    if (answer.status === 200 || answer.status === 202) {
      return { document: JSON.parse(answer.responseText), isDuplicate: answer.status === 200 };
    }
    const problem = readProblem(answer.status, answer.getResponseHeader("Retry-After"), answer.responseText);
    if (answer.status === 401) await authorization.renew(token);
    else if (answer.status === 429 || answer.status === 503) await waitFor(upload, problem);
    else throw problem;
  }
}

/**
 * Send a file once. Uses XMLHttpRequest, because `fetch` does not report upload progress.
 * @returns {Promise<XMLHttpRequest>}
 */
function send({ file, row, abort }, token) {
  const form = new FormData();
  // Sent without a media type: the browser may name a wrong one, and the server checks the name and the content.
  form.append("file", file.slice(), file.name);
  const xhr = new XMLHttpRequest();
  xhr.open("POST", "/v1/documents");
  xhr.setRequestHeader("Authorization", `Bearer ${token}`);
  xhr.upload.onprogress = (event) => showSent(row, file, event.loaded / event.total);
  return new Promise((resolve, reject) => {
    xhr.onload = () => resolve(xhr);
    xhr.onerror = () => reject(new Problem(0, UNREACHABLE));
    xhr.onabort = () => reject(new Problem(0, "Stopped."));
    abort.signal.addEventListener("abort", () => xhr.abort(), { once: true });
    showSent(row, file, 0);
    xhr.send(form);
  });
}

function makeRow(file) {
  const row = copyTemplate("row-template");
  row.querySelector(".check").remove();
  row.querySelector(".name").textContent = file.name;
  row.querySelector("progress").setAttribute("aria-label", `Upload of ${file.name}`);
  showStage({ row }, "waiting", formatBytes(file.size));
  return row;
}

function showSent(row, file, fraction) {
  const bar = row.querySelector("progress");
  bar.hidden = false;
  bar.value = fraction;
  const sent = `${formatBytes(fraction * file.size)} of ${formatBytes(file.size)}`;
  showStage({ row }, fraction < 1 ? "uploading" : "checking", sent);
}

function showStage({ row }, stage, facts) {
  row.dataset.status = stage === "refused" ? "failed" : "processing";
  row.querySelector(".badge").textContent = stage;
  row.querySelector(".facts").textContent = facts;
}

function showFailure({ file, row }, problem) {
  row.querySelector("progress").hidden = true;
  row.querySelector(".retry").hidden = false;
  row.querySelector(".buttons button:last-child").textContent = "Dismiss";
  showStage({ row }, "refused", formatBytes(file.size));
  showText(row.querySelector(".error"), problem.message);
  announce(`${file.name} was refused. ${problem.message}`);
}

/** Wait as long as the server asks, and show the remaining time. */
async function waitFor({ row, abort }, problem) {
  for (let seconds = problem.retryAfter || DEFAULT_WAIT_SECONDS; seconds > 0; seconds -= 1) {
    showStage({ row }, `retrying in ${seconds} s`, problem.message);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    abort.signal.throwIfAborted();
  }
}
