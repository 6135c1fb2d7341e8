// The same figures in other formats: fetched with the token, which a link would not send, shown, and kept as a file.

import { $, write } from "./dom.js";

// `fetched` asks the gateway for a path and resolves to its response, or rejects, for the reason that `failed` gets.
export function documents(fetched, failed) {
  let address = "";

  async function open(path) {
    let content;
    try {
      content = await (await fetched(path)).blob();
    } catch (problem) {
      failed(problem);
      return;
    }
    write($("document-title"), path);
    write($("document-text"), readable(await content.text(), content.type));
    address = URL.createObjectURL(content);
    $("document-file").href = address;
    $("document-file").download = path.slice(1);
    if (!$("document").open) $("document").showModal();
  }

  $("document").addEventListener("close", () => {
    URL.revokeObjectURL(address);
    write($("document-text"), "");
  });
  for (const link of $("documents").querySelectorAll("a")) {
    for (const press of ["click", "auxclick"]) {
      link.addEventListener(press, (event) => {
        if (event.button === 2) return;
        event.preventDefault();
        open(link.getAttribute("href"));
      });
    }
  }
}

// JSON comes in one line.
function readable(text, type) {
  return type.startsWith("application/json") ? JSON.stringify(JSON.parse(text), null, 2) : text;
}
