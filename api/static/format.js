/** Formats numbers for people. */

const UNITS = ["bytes", "kB", "MB", "GB"];

/**
 * @param {number} bytes
 * @returns {string} such as `1.2 MB`
 */
export function formatBytes(bytes) {
  let unit = 0;
  while (bytes >= 1000 && unit < UNITS.length - 1) {
    bytes /= 1000;
    unit += 1;
  }
  return `${unit && bytes < 100 ? bytes.toFixed(1) : Math.round(bytes)} ${UNITS[unit]}`;
}

/**
 * @param {number} count
 * @param {string} noun
 * @returns {string} such as `1 page`, `2 pages`
 */
export function formatCount(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

const ORDINALS = new Intl.PluralRules("en", { type: "ordinal" });
const SUFFIXES = { one: "st", two: "nd", few: "rd", other: "th" };

/**
 * @param {number} number
 * @returns {string} such as `3rd`
 */
export function formatOrdinal(number) {
  return `${number}${SUFFIXES[ORDINALS.select(number)]}`;
}
