/** Sources of an answer: numbered cards with the text that was cited, and the printed page. */

import { request } from "./api.js";
import { copyTemplate, showText } from "./dom.js";

/**
 * @typedef {object} Passage as the API shows it
 * @property {"document" | "note"} source
 * @property {string | null} document_id
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
   * @param {number} number as it stands in the answer
   * @param {Passage} passage
   * @param {string} question
   * @param {boolean} hasPicture whether the page can be shown as it is printed
   */
  constructor(number, passage, question, hasPicture) {
    this.number = number;
    this.passage = passage;
    this.element = copyTemplate("card-template");
    this.element.id = `source-${number}`;
    this.text = hasPicture ? joinLines(passage.text) : passage.text;
    this.#find(".number").textContent = `[${number}]`;
    this.#find(".title").textContent = passage.title;
    this.#find(".place").textContent = describePlace(passage);
    this.#mark(findWords(this.text, question));
    this.#button.hidden = !hasPicture;
    this.#button.addEventListener("click", () => this.#toggle());
  }

  /**
   * Mark the sentences that the answer quotes, where it quotes this passage.
   * @param {string} answer
   */
  markQuotations(answer) {
    const quotations = [...answer.matchAll(QUOTATION)].filter((found) => Number(found[2]) === this.number);
    const places = quotations.map(([, sentence]) => [this.passage.text.indexOf(sentence), sentence.length]);
    const ranges = places.filter(([start]) => start >= 0).map(([start, length]) => [start, start + length]);
    if (ranges.length) this.#mark(ranges);
  }

  /** Bring the card to the eye and the keyboard, with its page. */
  open() {
    this.element.closest("details")?.setAttribute("open", "");
    if (!this.#button.hidden && !this.#isOpen) this.#show();
    this.#find("h4").focus({ preventScroll: true });
    this.element.scrollIntoView({ block: "start" });
  }

  /** Give back the memory of the picture. */
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
      // The text above is what was cited; the picture is a help.
      showText(this.#find("p"), "The page cannot be shown as a picture. Its text is above.");
    }
    this.#setOpen(this.#isOpen);
  }

  #setOpen(isOpen) {
    this.#button.setAttribute("aria-expanded", String(isOpen));
    this.#button.textContent = isOpen ? "Hide the page" : "Show the page";
    this.#find("figure").hidden = !isOpen || !this.#address;
  }

  /** @param {number[][]} ranges starts and ends in the text */
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
 * Join the lines of what an answer quotes: where a printed line ended is of no interest in it. The text keeps its length.
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
 * Where the words of a question stand in a text, their endings included.
 * @returns {number[][]}
 */
function findWords(text, question) {
  const words = [...question.toLowerCase().matchAll(WORD)].map(([word]) => word);
  const asked = words.filter((word) => (word.length >= SHORTEST_WORD && !COMMON.has(word)) || /\p{N}/u.test(word));
  const found = [...text.matchAll(WORD)].filter(([word]) => asked.some((part) => word.toLowerCase().startsWith(part)));
  return found.map(({ 0: word, index }) => [index, index + word.length]);
}

/**
 * A printed line's end is no end of anything: join it with the next, unless it is short, as headings and last lines are.
 * The text keeps its length.
 * @param {string} text
 */
function joinLines(text) {
  const lines = text.split("\n");
  const full = 0.6 * Math.max(...lines.map((line) => line.length));
  const joints = lines.map((line) => (line.length >= full ? " " : "\n"));
  return lines.map((line, index) => line + joints[index]).join("").slice(0, text.length);
}
