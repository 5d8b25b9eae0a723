/** The question form, the answer while it is streamed, and its sources. */

import { Problem, request } from "./api.js";
import { joinQuotations, SourceCard } from "./citations.js";
import { announce, byId, showText } from "./dom.js";
import { formatCount } from "./format.js";
import { readEvents } from "./sse.js";

/** @typedef {{card: SourceCard, start: number, end: number}} Mark a citation at these offsets of the answer */

const CITATION = /\[(\d+)\]/g;
/** The "model" that quotes sentences. It understands no follow-up question. */
const EXTRACTIVE = "extractive";
const FIRST = byId("question").placeholder;
const MARK = /\s*\[\d+\]/g;
/** Longest history that is sent, in turns and in characters of a turn. The API allows more. */
const MAX_TURNS = 20;
const MAX_TURN_CHARACTERS = 8_000;

export class AskPanel {
  /** @type {SourceCard[]} */
  #cards = [];
  #text = "";
  /**
   * What was said so far, if a language model answers. Its marks are left out: they name sources of their own answer.
   * @type {{role: "user" | "assistant", content: string}[]}
   */
  #history = [];
  /** @type {AbortController | null} */
  #abort = null;

  /**
   * @param {() => string[]} listSelected ids of the documents to ask; an empty list asks all
   * @param {(passage: any) => boolean} hasPageImage
   * @param {() => string} getCollection id of the collection to ask; an empty text asks all
   */
  constructor(listSelected, hasPageImage, getCollection) {
    this.listSelected = listSelected;
    this.getCollection = getCollection;
    this.hasPageImage = hasPageImage;
    byId("ask-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#ask();
    });
    byId("question").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      byId("ask-form").requestSubmit();
    });
    byId("stop").addEventListener("click", () => this.#abort?.abort());
    byId("new-conversation").addEventListener("click", () => this.#forget());
  }

  /** The request body for the current question and selection. */
  get body() {
    const ids = this.listSelected();
    const collection = this.getCollection();
    return {
      question: byId("question").value.trim(),
      ...(ids.length && { document_ids: ids }),
      ...(collection && { collection_ids: [collection] }),
      ...(this.#history.length && { history: this.#history }),
    };
  }

  async #ask() {
    const { body } = this;
    if (!body.question) return;
    this.#abort?.abort();
    const abort = new AbortController();
    this.#abort = abort;
    this.#showTurns();
    this.#start(body.question);
    try {
      await this.#read(body, abort.signal);
    } catch (problem) {
      if (this.#abort === abort) this.#fail(problem, abort.signal.aborted);
    } finally {
      if (this.#abort === abort) this.#end();
    }
  }

  async #read(body, signal) {
    const headers = { Accept: "text/event-stream" };
    const response = await request("/v1/ask", { method: "POST", body, headers, signal });
    let isComplete = false;
    for await (const { name, data } of readEvents(response)) {
      if (name === "passages") this.#showPassages(data.passages, body.question);
      else if (name === "token") this.#showMore(data.text);
      else if (name === "error") throw new Problem(data.status, data.detail);
      else if (name === "done") {
        this.#finish(data);
        if (data.model !== EXTRACTIVE) this.#remember(body.question, data.answer);
        isComplete = true;
      }
    }
    if (!isComplete) throw new Problem(0, "The connection was lost before the answer was complete. Ask again.");
  }

  /** Show what was said before the current question. */
  #showTurns() {
    byId("conversation").hidden = !this.#history.length;
    byId("turns").replaceChildren(...this.#history.map(makeTurn));
  }

  #remember(question, answer) {
    const turns = [
      { role: "user", content: question },
      { role: "assistant", content: answer.replace(MARK, "").slice(0, MAX_TURN_CHARACTERS) },
    ];
    this.#history = [...this.#history, ...turns].slice(-MAX_TURNS);
    byId("question").value = "";
    byId("question").placeholder = "Ask a follow-up question";
  }

  #forget() {
    this.#history = [];
    this.#showTurns();
    byId("question").placeholder = FIRST;
    byId("question").focus();
  }

  #start(question) {
    this.#cards.forEach((card) => card.close());
    this.#cards = [];
    this.#text = "";
    byId("answer").hidden = false;
    byId("nothing-to-ask").hidden = true;
    byId("asked").textContent = question;
    byId("answer-status").textContent = "Searching…";
    byId("answer-text").setAttribute("aria-busy", "true");
    for (const id of ["answer-text", "cited-list", "others-list"]) byId(id).replaceChildren();
    for (const id of ["cited", "others"]) byId(id).hidden = true;
    showText(byId("answer-error"), "");
    this.#showBusy(true);
  }

  #end() {
    this.#abort = null;
    byId("answer-text").setAttribute("aria-busy", "false");
    this.#showBusy(false);
  }

  #showBusy(isBusy) {
    const hadFocus = document.activeElement === byId("stop");
    byId("stop").hidden = !isBusy;
    if (hadFocus) byId("question").focus();
  }

  #showPassages(passages, question) {
    this.#cards = passages.map(
      (passage, index) => new SourceCard(index + 1, passage, question, this.hasPageImage(passage)),
    );
    byId("answer-status").textContent = `Answering from ${formatCount(passages.length, "passage")}…`;
    byId("others-list").append(...this.#cards.map((card) => card.element));
    this.#countOthers();
  }

  /**
   * Show the answer so far, with its marks as references.
   * @param {string} text
   * @param {Mark[]} marks
   */
  #showText(text, marks) {
    this.#text = text;
    const shown = joinQuotations(text);
    const parts = [];
    let last = 0;
    for (const { card, start, end } of marks) {
      parts.push(shown.slice(last, start), makeReference(card));
      last = end;
    }
    byId("answer-text").replaceChildren(...parts, shown.slice(last));
    byId("cited").hidden = !byId("cited-list").childElementCount;
    this.#countOthers();
  }

  /** Show the next words, and move the passages that the answer cites to the sources. */
  #showMore(words) {
    const text = this.#text + words;
    const marks = [...text.matchAll(CITATION)].map(({ 0: mark, 1: number, index }) => ({
      card: this.#cards[Number(number) - 1],
      start: index,
      end: index + mark.length,
    }));
    const known = marks.filter(({ card }) => card);
    byId("cited-list").append(...known.map(({ card }) => card.element));
    this.#showText(text, known);
  }

  #finish({ answer, citations, model }) {
    const marks = citations.map(({ number, start, end }) => ({
      card: this.#cards[number - 1],
      start: findUnit(answer, start),
      end: findUnit(answer, end),
    }));
    const cited = [...new Set(marks.map(({ card }) => card))];
    const others = this.#cards.filter((card) => !cited.includes(card));
    byId("cited-list").replaceChildren(...cited.map((card) => card.element));
    byId("others-list").replaceChildren(...others.map((card) => card.element));
    cited.forEach((card) => card.markQuotations(answer));
    this.#showText(answer, marks);
    byId("answer-status").textContent = model === EXTRACTIVE ? "Quoted word for word." : `Written by ${model}.`;
    announce(cited.length ? `Answered with ${formatCount(cited.length, "source")}.` : "Answered without sources.");
  }

  #fail(problem, isStopped) {
    byId("answer-status").textContent = isStopped ? "Stopped." : "";
    if (!isStopped) showText(byId("answer-error"), problem.message);
    byId("others").open = this.#cards.length > 0;
  }

  #countOthers() {
    const count = byId("others-list").childElementCount;
    byId("others").hidden = !count;
    byId("others").querySelector("summary").textContent = `${formatCount(count, "passage")} found but not cited`;
  }
}

/** Return the offset in UTF-16 units, which JavaScript counts, of a number of characters. */
function findUnit(text, characters) {
  return [...text].slice(0, characters).join("").length;
}

/** @param {{role: string, content: string}} turn */
function makeTurn({ role, content }) {
  const item = document.createElement("li");
  item.className = role;
  item.textContent = content;
  return item;
}

/** @param {SourceCard} card */
function makeReference(card) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "reference";
  button.textContent = `[${card.number}]`;
  button.setAttribute("aria-label", `Source ${card.number}: ${card.passage.title}`);
  button.addEventListener("click", () => card.open());
  return button;
}
