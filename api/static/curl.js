/** Copies requests as curl commands. They name the token but never contain it: other programs can read the clipboard. */

import { announce, byId } from "./dom.js";

const HINT = "# Set SLUICE_TOKEN to the access_token that POST /v1/auth/login returns";

/** Copy the command that uploads a file. */
export function copyUpload() {
  return copy(`curl -sS ${location.origin}/v1/documents -H "Authorization: Bearer $SLUICE_TOKEN" -F file=@document.pdf`);
}

/**
 * Copy the command that asks a question.
 * @param {object} body body of the request
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
    announce("Command copied. Set SLUICE_TOKEN to your token.");
  } catch {
    showCommand(text); // the clipboard needs HTTPS and permission
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
