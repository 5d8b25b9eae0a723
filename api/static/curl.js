/** The same by curl. The token is named, never written: the clipboard is read by many. */

import { announce, byId } from "./dom.js";

const HINT = "# SLUICE_TOKEN is the access_token that POST /v1/auth/login answers";

/** Copy the command that uploads a file. */
export function copyUpload() {
  return copy(`curl -sS ${location.origin}/v1/documents -H "Authorization: Bearer $SLUICE_TOKEN" -F file=@document.pdf`);
}

/**
 * Copy the command that asks.
 * @param {object} body of the request
 */
export function copyAsk(body) {
  const json = JSON.stringify(body).replaceAll("'", String.raw`'\''`);
  return copy(
    `curl -sSN ${location.origin}/v1/ask -H "Authorization: Bearer $SLUICE_TOKEN" \\\n` +
      `  -H 'Accept: text/event-stream' --json '${json}'`,
  );
}

async function copy(command) {
  const text = `${HINT}\n${command}\n`;
  try {
    await navigator.clipboard.writeText(text);
    announce("The command is copied. Put your token into SLUICE_TOKEN.");
  } catch {
    showCommand(text); // no clipboard without https, or without permission
  }
}

function showCommand(text) {
  const dialog = byId("copy-dialog");
  const area = dialog.querySelector("textarea");
  area.value = text;
  dialog.querySelector(".cancel").onclick = () => dialog.close();
  dialog.showModal();
  area.select();
}
