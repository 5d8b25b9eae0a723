/** A list of documents or notes that is updated as they change. */

import { requestJson } from "./api.js";
import { announce, removeRow } from "./dom.js";

const PAGE = 20;
const LARGEST_PAGE = 100;
/** What each order compares. Ids sort by creation time. */
const KEYS = {
  created_at: ({ id }) => id,
  filename: ({ filename }) => filename.toLowerCase(),
  size_bytes: ({ size_bytes: size }) => size,
};
/** @type {View} */
const ALL = { collection: "", name: "", status: "", sort: "-created_at" };

/**
 * @typedef {{id: string, status: string, updated_at: string}} Item a document or a note, as returned by the API
 * @typedef {object} View which items are shown, and in which order; an empty text does not restrict
 * @property {string} collection id of a collection
 * @property {string} name part of the file name
 * @property {string} status
 * @property {string} sort key of the order; `-` means falling
 * @typedef {object} Appearance
 * @property {"document" | "note"} source
 * @property {HTMLElement} list
 * @property {HTMLElement} heading
 * @property {HTMLElement} empty shown while the list is empty
 * @property {HTMLButtonElement} more
 * @property {(item: any) => HTMLElement} makeRow
 * @property {(row: HTMLElement, item: any, before: any) => void} updateRow
 * @property {(view: View) => string} makePath path of the view in the API, with parameters
 * @property {() => void} onChange
 * @property {(id: string) => void} onDelete
 */

/** @param {Item} item */
export function isTerminal(item) {
  return item.status === "ready" || item.status === "failed";
}

export class Listing {
  /** @type {Map<string, Item>} */
  #items = new Map();
  /** @type {Map<string, HTMLElement>} */
  #rows = new Map();
  /** @type {Set<string>} */
  #removed = new Set();
  /** @type {string | null} */
  #cursor = null;
  /**
   * The last item of the pages that are loaded, if more follow.
   * @type {Item | null}
   */
  #last = null;
  #view = ALL;
  /** How many items are on pages that are not loaded. */
  #rest = 0;

  /**
   * @param {string} path path of the list in the API
   * @param {Appearance} appearance
   */
  constructor(path, appearance) {
    this.path = path;
    this.appearance = appearance;
    appearance.more.addEventListener("click", () => this.loadMore().catch((problem) => announce(problem.message)));
  }

  get size() {
    return this.#items.size;
  }

  /** How many items there are, also on pages that are not loaded. What changes there counts with the next request. */
  get total() {
    return this.size + this.#rest;
  }

  /** True if a name or a status restricts what is shown. */
  get isFiltered() {
    return Boolean(this.#view.name || this.#view.status);
  }

  get isWaiting() {
    return [...this.#items.values()].some((item) => !isTerminal(item));
  }

  /** @param {string} id */
  get(id) {
    return this.#items.get(id);
  }

  /**
   * Change what is shown.
   * @param {Partial<View>} change
   */
  async choose(change) {
    const view = { ...this.#view, ...change };
    this.#view = view;
    let page = null;
    try {
      page = await this.#load(PAGE, null);
    } finally {
      if (view === this.#view) this.#clear();
    }
    if (page) this.#add(page);
  }

  /** Load the next page; the first call loads the first page. */
  async loadMore() {
    const page = await this.#load(PAGE, this.#cursor);
    if (page) this.#add(page);
  }

  /** Load the current state of the items shown. */
  async refresh() {
    const before = [...this.#items.values()];
    const limit = Math.min(Math.max(this.size, PAGE), LARGEST_PAGE);
    const page = await this.#load(limit, null);
    if (!page) return;
    page.items.forEach((item) => this.update(item));
    const present = new Set(page.items.map((item) => item.id));
    const last = page.next_cursor ? page.items.at(-1) : null;
    const after = last && [...this.#items.values()].filter((item) => this.#compare(item, last) > 0);
    this.#rest = last ? page.total - page.items.length - after.length : 0;
    for (const item of before.filter(({ id }) => !present.has(id))) {
      if (!last || this.#compare(item, last) < 0) this.#hide(item.id); // deleted elsewhere, or it no longer matches
      else if (!isTerminal(item)) await this.#refreshOne(item.id);
    }
    this.#show();
  }

  /**
   * Show a state of an item, unless a later state is known or the item belongs to a page that is not loaded yet. Hide
   * an item that no longer belongs to what is shown.
   * @param {Item} item
   */
  update(item) {
    const before = this.#items.get(item.id);
    if (this.#removed.has(item.id) || (!before && this.#last && this.#compare(item, this.#last) > 0)) return;
    if (before && Date.parse(item.updated_at) < Date.parse(before.updated_at)) return;
    if (!this.#matches(item, before)) return this.#hide(item.id);
    this.#items.set(item.id, item);
    const row = this.#rows.get(item.id) ?? this.#makeRow(item);
    if (!before || this.#compare(before, item)) this.#place(row, item);
    this.appearance.updateRow(row, item, before);
    this.#show();
  }

  /** @param {string} id */
  remove(id) {
    this.#removed.add(id);
    this.appearance.onDelete(id);
    this.#hide(id);
  }

  #hide(id) {
    this.#items.delete(id);
    const row = this.#rows.get(id);
    this.#rows.delete(id);
    if (row) removeRow(row, this.appearance.heading);
    this.#show();
  }

  /**
   * @param {string} id
   * @returns {HTMLElement | undefined}
   */
  getRow(id) {
    return this.#rows.get(id);
  }

  #clear() {
    this.#rows.forEach((row) => row.remove());
    this.#rows.clear();
    this.#items.clear();
    this.#cursor = null;
    this.#last = null;
    this.#rest = 0;
    this.#show();
  }

  #add(page) {
    const left = this.#cursor ? this.#rest : page.total;
    this.#rest = page.next_cursor ? left - page.items.length : 0;
    this.#cursor = page.next_cursor;
    this.#last = page.next_cursor ? page.items.at(-1) : null;
    page.items.forEach((item) => this.update(item));
    this.#show();
  }

  /** Load a page of the list. Return null if something else was chosen meanwhile. */
  async #load(limit, cursor) {
    const view = this.#view;
    const path = new URL(this.appearance.makePath(view), location.origin);
    path.searchParams.set("limit", limit);
    if (cursor) path.searchParams.set("cursor", cursor);
    const page = await requestJson(path.pathname + path.search);
    if (view !== this.#view) return null;
    return { ...page, items: page.items.map((item) => item[this.appearance.source] ?? item) };
  }

  #matches(item, before) {
    const { collection, name, status } = this.#view;
    if (collection && !(item.collection_ids?.includes(collection) ?? before)) return false;
    if (status && item.status !== status) return false;
    return !name || item.filename.toLowerCase().includes(name.toLowerCase());
  }

  /** Compare two items as the service sorts them. */
  #compare(one, other) {
    const { sort } = this.#view;
    const key = KEYS[sort.replace("-", "")];
    const [first, second] = [one, other].map((item) => [key(item), item.id]);
    const place = first[0] === second[0] ? 1 : 0;
    if (first[place] === second[place]) return 0;
    return first[place] < second[place] === sort.startsWith("-") ? 1 : -1;
  }

  #makeRow(item) {
    const row = this.appearance.makeRow(item);
    row.dataset.id = item.id;
    this.#rows.set(item.id, row);
    return row;
  }

  /** Put a row where its item belongs. Rows of uploads stay where they are. */
  #place(row, item) {
    const next = [...this.appearance.list.children].find((child) => {
      const other = this.#items.get(child.dataset.id);
      return other && other !== item && this.#compare(item, other) < 0;
    });
    this.appearance.list.insertBefore(row, next ?? null);
  }

  async #refreshOne(id) {
    try {
      this.update(await requestJson(`${this.path}/${id}`));
    } catch (problem) {
      if (problem.status !== 404) throw problem;
      this.remove(id);
    }
  }

  #show() {
    const { empty, more, onChange } = this.appearance;
    empty.hidden = this.size > 0;
    more.hidden = !this.#cursor;
    onChange();
  }
}
