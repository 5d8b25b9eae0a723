/** The sources of an answer: numbered cards with the cited text and the page image. */

import { request } from "./api.js";
import { copyTemplate, showText } from "./dom.js";
import { makeAddress } from "./viewer.js";

/**
 * @typedef {object} Passage as returned by the API
 * @property {"document" | "note"} source
 * @property {string | null} document_id
 * @property {string | null} note_id
 * @property {string} title
 * @property {number} page
 * @property {number} page_end
 * @property {number} start
 * @property {number} end
 * @property {string} text
 */

const QUOTATION = /“([^]*?)” \[(\d+)\]/g;
const WORD = /[\p{L}\p{N}]+(?:[.,][\p{N}]+)*/gu;
const SHORTEST_WORD = 4;
const COMMON = new Set("about been does from have that their there they this were what when where which will with".split(" "));

export class SourceCard {
  #address = "";

  /**
   * @param {number} number its number in the answer, counted from 1
   * @param {Passage} passage
   * @param {string} question
   * @param {boolean} hasPageImage
   */
  constructor(number, passage, question, hasPageImage) {
    this.number = number;
    this.passage = passage;
    this.element = copyTemplate("card-template");
    this.element.id = `source-${number}`;
    this.text = hasPageImage ? joinLines(passage.text) : passage.text;
    this.#find(".number").textContent = `[${number}]`;
    this.#find(".title").textContent = passage.title;
    this.#find(".place").textContent = describePlace(passage);
    this.#mark(findWords(this.text, question));
    const { source, document_id: document, note_id: note, page, start, end } = passage;
    this.#find(".place-link").href =
      source === "note" ? makeAddress({ source, id: note, start, end }) : makeAddress({ source, id: document, page, start, end });
    this.#find(".place-link").setAttribute("aria-label", `Open ${passage.title} at the place of source ${number}`);
    this.#button.hidden = !hasPageImage;
    this.#button.addEventListener("click", () => this.#toggle());
  }

  /**
   * Mark the sentences that the answer quotes from this passage.
   * @param {string} answer
   */
  markQuotations(answer) {
    const quotations = [...answer.matchAll(QUOTATION)].filter((found) => Number(found[2]) === this.number);
    const places = quotations.map(([, sentence]) => [this.passage.text.indexOf(sentence), sentence.length]);
    const ranges = places.filter(([start]) => start >= 0).map(([start, length]) => [start, start + length]);
    if (ranges.length) this.#mark(ranges);
  }

  /** Show the card with its page image, scroll to it and focus it. */
  open() {
    this.element.closest("details")?.setAttribute("open", "");
    if (!this.#button.hidden && !this.#isOpen) this.#show();
    this.#find("h4").focus({ preventScroll: true });
    this.element.scrollIntoView({ block: "start" });
  }

  /** Release the memory of the page image. */
  close() {
    URL.revokeObjectURL(this.#address);
    this.#address = "";
  }

  get #button() {
    return /** @type {HTMLButtonElement} */ (this.#find("button"));
  }

  get #isOpen() {
    return this.#button.getAttribute("aria-expanded") === "true";
  }

  #find(selector) {
    return this.element.querySelector(selector);
  }

  #toggle() {
    if (!this.#isOpen) return this.#show();
    this.#setOpen(false);
    showText(this.#find("p"), "");
  }

  async #show() {
    this.#setOpen(true);
    if (this.#address) return;
    const { document_id: id, page, start, end, title } = this.passage;
    showText(this.#find("p"), "Loading the page…");
    try {
      const response = await request(`/v1/documents/${id}/pages/${page}/image?start=${start}&end=${end}`);
      this.#address = URL.createObjectURL(await response.blob());
      const image = this.#find("img");
      image.src = this.#address;
      image.alt = `Page ${page} of ${title}, with the passage marked`;
      showText(this.#find("p"), "");
    } catch {
      // The cited text is already shown, so a missing page image is only a hint.
      showText(this.#find("p"), "The page image could not be loaded. The cited text is above.");
    }
    this.#setOpen(this.#isOpen);
  }

  #setOpen(isOpen) {
    this.#button.setAttribute("aria-expanded", String(isOpen));
    this.#button.textContent = isOpen ? "Hide the page" : "Show the page";
    this.#find("figure").hidden = !isOpen || !this.#address;
  }

  /** @param {number[][]} ranges start and end offsets in the text */
  #mark(ranges) {
    const parts = [];
    let end = 0;
    for (const [start, stop] of ranges.sort((one, other) => one[0] - other[0])) {
      if (start < end) continue;
      const mark = document.createElement("mark");
      mark.textContent = this.text.slice(start, stop);
      parts.push(this.text.slice(end, start), mark);
      end = stop;
    }
    this.#find("blockquote").replaceChildren(...parts, this.text.slice(end));
  }
}

/**
 * Replace line breaks inside quotations by spaces: printed lines do not matter there. The length does not change.
 * @param {string} answer
 */
export function joinQuotations(answer) {
  return answer.replace(QUOTATION, (quotation) => quotation.replaceAll("\n", " "));
}

/** @param {Passage} passage */
function describePlace({ source, page, page_end: last }) {
  if (source === "note") return "note";
  return last > page ? `pages ${page}–${last}` : `page ${page}`;
}

/**
 * Find the words of a question in a text, including words that only begin with them.
 * @returns {number[][]} start and end offsets
 */
function findWords(text, question) {
  const words = [...question.toLowerCase().matchAll(WORD)].map(([word]) => word);
  const asked = words.filter((word) => (word.length >= SHORTEST_WORD && !COMMON.has(word)) || /\p{N}/u.test(word));
  const found = [...text.matchAll(WORD)].filter(([word]) => asked.some((part) => word.toLowerCase().startsWith(part)));
  return found.map(({ 0: word, index }) => [index, index + word.length]);
}

/**
 * Join printed lines with spaces, except after short lines, which are headings or ends of paragraphs. The length does not
 * change.
 * @param {string} text
 */
function joinLines(text) {
  const lines = text.split("\n");
  const shortestFull = 0.6 * Math.max(...lines.map((line) => line.length));
  const separators = lines.map((line) => (line.length >= shortestFull ? " " : "\n"));
  return lines.map((line, index) => line + separators[index]).join("").slice(0, text.length);
}
