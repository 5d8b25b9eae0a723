/** The view of one document or note, at its own address: `#document=<id>&page=3&start=120&end=180` or `#note=<id>`. */

import { request, requestJson } from "./api.js";
import { byId, showText } from "./dom.js";

const PDF = "application/pdf";
const TITLE = document.title;
/** Characters of text that are loaded at once. */
const WINDOW = 20_000;
/** Characters shown before a marked passage. */
const LEAD = 2_000;

/** @typedef {{source: "document" | "note", id: string, page?: number, start?: number, end?: number}} Place */

/**
 * @param {Place} place
 * @returns {string} the part of the address that opens the place
 */
export function makeAddress({ source, id, page, start, end }) {
  const query = new URLSearchParams({ [source]: id });
  if (page) query.set("page", String(page));
  if (start !== undefined && end !== undefined) {
    query.set("start", String(start));
    query.set("end", String(end));
  }
  return `#${query}`;
}

/**
 * @param {string} hash
 * @returns {Place | null} null if the address is not that of a document or note
 */
function readAddress(hash) {
  const query = new URLSearchParams(hash.slice(1));
  const source = query.get("document") ? "document" : "note";
  const id = query.get(source);
  if (!id) return null;
  const [page, start, end] = ["page", "start", "end"].map((name) => readNumber(query.get(name)));
  return { source, id, page, ...(start < end && { start, end }) };
}

/** @param {string | null} text */
function readNumber(text) {
  return /^\d{1,9}$/.test(text ?? "") ? Number(text) : undefined;
}

export class Viewer {
  /** @type {AbortController | null} */
  #abort = null;
  #picture = "";

  /** Show what the address names, now and whenever it changes. */
  start() {
    addEventListener("hashchange", () => this.#follow());
    return this.#follow();
  }

  /** @returns {boolean} whether the address names a document or note */
  #follow() {
    if (location.hash === "#main") return false; // the link for keyboards
    const place = readAddress(location.hash);
    this.#abort?.abort();
    byId("viewer").hidden = !place;
    byId("workspace").hidden = Boolean(place);
    this.#clear();
    if (place) {
      this.#abort = new AbortController();
      this.#show(place, this.#abort.signal);
    } else {
      document.title = TITLE;
      if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
    }
    return Boolean(place);
  }

  #clear() {
    URL.revokeObjectURL(this.#picture);
    this.#picture = "";
    byId("viewer-title").textContent = "";
    byId("viewer-text").replaceChildren();
    for (const id of ["viewer-error", "viewer-hint"]) showText(byId(id), "");
    for (const id of ["viewer-picture", "viewer-pages", "viewer-before", "viewer-after", "viewer-text"]) byId(id).hidden = true;
  }

  /**
   * @param {Place} place
   * @param {AbortSignal} signal
   */
  async #show(place, signal) {
    const heading = byId("viewer-title");
    heading.textContent = "Loading…";
    scrollTo(0, 0);
    heading.focus({ preventScroll: true });
    try {
      const path = `/v1/${place.source}s/${encodeURIComponent(place.id)}`;
      const item = await requestJson(path, { signal });
      const title = item.filename ?? item.title;
      heading.textContent = title;
      document.title = `${title} · Sluice`;
      if (place.source === "note") return this.#showNote(item, place);
      this.#showPages(item, place);
      const picture = item.media_type === PDF && item.status === "ready" ? this.#showPicture(path, item, place, signal) : null;
      await Promise.all([picture, this.#showText(path, place, signal)]);
    } catch (problem) {
      if (signal.aborted) return;
      const isGone = problem.status === 404;
      if (isGone) heading.textContent = "Not found";
      showText(byId("viewer-error"), isGone ? describeGone(place) : problem.message);
    }
  }

  #showNote({ body }, place) {
    this.#setText(body, 0, place);
    byId("viewer-text").querySelector("mark")?.scrollIntoView({ block: "center" });
  }

  /** Show the links to the pages before and after, which have addresses of their own. */
  #showPages({ id, pages, media_type: type }, { page = 1 }) {
    if (!pages || type !== PDF) return;
    byId("viewer-pages").hidden = false;
    byId("viewer-page").textContent = `Page ${page} of ${pages}`;
    for (const [name, other] of [["viewer-previous", page - 1], ["viewer-next", page + 1]]) {
      byId(name).hidden = other < 1 || other > pages;
      byId(name).href = makeAddress({ source: "document", id, page: other });
    }
  }

  async #showPicture(path, { filename }, { page = 1, start, end }, signal) {
    const query = start === undefined ? "" : `?start=${start}&end=${end}`;
    try {
      const response = await request(`${path}/pages/${page}/image${query}`, { signal });
      const picture = URL.createObjectURL(await response.blob());
      if (signal.aborted) return URL.revokeObjectURL(picture);
      this.#picture = picture;
      const image = byId("viewer-picture").querySelector("img");
      image.src = picture;
      image.alt = `Page ${page} of ${filename}${query && ", with the passage marked"}`;
      byId("viewer-picture").hidden = false;
    } catch (problem) {
      if (!signal.aborted) showText(byId("viewer-hint"), `The page image could not be loaded. ${problem.message}`);
    }
  }

  /** Show the text around the passage, with buttons that load what comes before and after it. */
  async #showText(path, place, signal) {
    let from = Math.max(0, (place.start ?? 0) - LEAD);
    let text = "";
    let length = 0;
    const load = async (start, end) => {
      const part = await requestJson(`${path}/text?start=${start}&end=${end}`, { signal });
      length = part.length;
      return part.text;
    };
    const show = () => {
      this.#setText(text, from, place);
      byId("viewer-before").hidden = from === 0;
      byId("viewer-after").hidden = from + [...text].length >= length;
    };
    const more = async (act) => {
      try {
        await act();
        show();
      } catch (problem) {
        if (!signal.aborted) showText(byId("viewer-error"), problem.message);
      }
    };
    byId("viewer-before").onclick = () =>
      more(async () => {
        const start = Math.max(0, from - WINDOW);
        text = (await load(start, from)) + text;
        from = start;
      });
    byId("viewer-after").onclick = () =>
      more(async () => {
        const end = from + [...text].length;
        text += await load(end, end + WINDOW);
      });
    text = await load(from, from + WINDOW);
    show();
    if (!length) showText(byId("viewer-hint"), "There is no text yet.");
    if (!byId("viewer-pages").hidden) return; // the page image comes first
    byId("viewer-text").querySelector("mark")?.scrollIntoView({ block: "center" });
  }

  /** Show a text that begins at this offset, and mark the passage. Offsets count characters, not UTF-16 units. */
  #setText(text, from, { start, end }) {
    const area = byId("viewer-text");
    area.hidden = false;
    if (start === undefined) return area.replaceChildren(text);
    const characters = [...text];
    const [first, last] = [start - from, end - from].map((place) => Math.max(0, place));
    const mark = document.createElement("mark");
    mark.textContent = characters.slice(first, last).join("");
    area.replaceChildren(characters.slice(0, first).join(""), mark, characters.slice(last).join(""));
  }
}

/** @param {Place} place */
function describeGone({ source }) {
  return `This ${source} does not exist, or it belongs to another account. Perhaps it was deleted.`;
}
