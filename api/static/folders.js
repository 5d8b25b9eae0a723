/** Folders that are chosen or dropped: all files in them, at any depth. */

/**
 * Return the files of a drop, also those inside of folders. It must be called while the event is handled.
 * @param {DataTransfer} transfer
 * @returns {Promise<File[]>}
 */
export async function listDropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  const found = await Promise.all(entries.map(listFiles));
  return found.flat();
}

/**
 * Leave out what the system adds to folders, such as `.DS_Store`.
 * @param {File[]} files
 */
export function withoutHidden(files) {
  return files.filter((file) => !file.name.startsWith("."));
}

async function listFiles(entry) {
  if (entry.isFile) return withoutHidden([await new Promise((resolve, reject) => entry.file(resolve, reject))]);
  const reader = entry.createReader();
  const files = [];
  for (;;) {
    // Browsers return a folder in parts, the last of which is empty.
    const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!part.length) return files;
    for (const child of part) files.push(...(await listFiles(child)));
  }
}
